"""Audits: what moves between device and host while they are open, by whom, and the refusal of it."""

import threading
from types import TracebackType

from insitu.audit import hooks
from insitu.audit.lines import CROSSING, Direction, Line, Lines, Move, add, kind_of, refusal, table
from insitu.audit.origins import origin

__all__ = ["Audit", "no_host_transfer"]

_lock = threading.RLock()
_open: "list[Audit]" = []


class Audit:
    """Keeps a ledger of what moves in this process while it is open; any number may be open at a time.

    It sees, in every thread, copies of the solver's memory, MPI staging among them, torch's copies and numbers read from
    tensors, whatever calls them (``.cpu()``, ``print``, an index), and CuPy's copies. Views (``as_torch``, ``as_numpy``,
    ``.numpy()``) move nothing and are not in it. What other libraries ask of the CUDA driver is not seen, nor what a replayed
    CUDA graph or a single operation of torch moves inside, nor NumPy's copies of host memory.

    Parameters
    ----------
    allowed
        Largest transfer that may pass the host, in bytes; without it, any.
    copies
        Whether to have lines of copies within the device too: the solver's, and in host modes torch's, as the clone of a field's
        view. They cost some microseconds each. Torch's copies within a GPU always have lines.

    Attributes
    ----------
    lines : list of Line
        What moved so far; complete once the audit is closed.

    Raises
    ------
    HostTransferError
        In the thread that asks for the transfer, which then does not take place. What the solver needs for itself, its check for
        finite values and its tables of coefficients, is in the ledger and never refused.
    """

    def __init__(self, allowed: int | None = None, copies: bool = False):
        self.allowed, self.copies = allowed, copies
        self._lines: Lines = {}

    @property
    def lines(self) -> list[Line]:
        """What moved so far."""
        with _lock:
            return list(self._lines.values())

    @property
    def field_bytes(self) -> int:
        """Bytes of field data that passed between device and host."""
        return sum(line.bytes for line in self.lines if line.passes_host)

    def bytes(self, direction: Direction) -> int:
        """Return the bytes of all kinds in a direction."""
        return sum(line.bytes for line in self.lines if line.direction == direction)

    def table(self) -> str:
        """Return the ledger as text, a line for each origin, the largest first."""
        return table(self.lines)

    def __enter__(self) -> "Audit":
        with _lock:
            _open.append(self)
            _watch_again(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with _lock:
            _open.remove(self)
            _watch_again(self)


def no_host_transfer(allowed: int = 0) -> Audit:
    """Refuse all that moves data between device and host inside the block, in any thread.

    ::

        with insitu.no_host_transfer() as audit:
            simulation.advance(steps=1000)
        print(audit.table())

    In host modes, where device and host are one memory, refused are copies between the solver's memory and host arrays
    (``to_host``, ``copy_to``, ``copy_from``, ``set``), which cross on a GPU; what torch does on the host is free there.

    Parameters
    ----------
    allowed
        Largest transfer that may pass, in bytes: 8 lets a loss be read.

    Returns
    -------
    Audit
        A context manager, and the ledger of the block; see there for what is seen and what is raised.
    """
    return Audit(allowed)


def _watch_again(changed: Audit) -> None:
    """Let the hooks be those that the open audits need, after one was opened or closed."""
    others = [audit for audit in _open if audit is not changed]
    if others and (not changed.copies or any(audit.copies for audit in others)):
        return
    hooks.uninstall()
    if _open:
        hooks.install(_check, _record, any(audit.copies for audit in _open))


def _check(move: Move) -> None:
    """Raise where an open audit refuses what is about to happen."""
    if move.direction not in CROSSING:
        return
    is_refused = any(
        audit.allowed is not None and move.bytes > audit.allowed for audit in tuple(_open)
    )
    if is_refused and kind_of(move, origin(is_near=True)) != "control":
        raise refusal(move, origin())


def _record(move: Move) -> None:
    """Write what happened into the open audits."""
    if not (move.bytes or move.synchronizations):
        return
    place = origin(is_near=True)
    kind = kind_of(move, place)
    if move.direction in CROSSING and kind != "control":
        place = origin()
    key = (place.who, place.where, move.operation, move.direction, kind)
    with _lock:
        for audit in _open:
            add(audit._lines, key, 1, move.bytes, move.synchronizations)

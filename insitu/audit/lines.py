"""The lines of a ledger of transfers, and the error that one line too many is."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from insitu.audit.origins import Origin

__all__ = [
    "CROSSING",
    "Direction",
    "HostTransferError",
    "Kind",
    "Line",
    "Lines",
    "Move",
    "add",
    "kind_of",
    "merged",
    "refusal",
    "table",
]

Direction = Literal["host_to_device", "device_to_host", "device_to_device", "within_host", "none"]
Kind = Literal["field", "number", "control"]

CROSSING: tuple[Direction, ...] = ("host_to_device", "device_to_host", "within_host")

_CONTROLLING = (
    "solver.finite.",
    "solver.reduction.",
    "solver.simulation.Simulation._first_bad_point",
    "solver.explicit.Explicit.",
    "solver.halo.",
)
_WORDS: dict[Direction, str] = {
    "host_to_device": "host -> device",
    "device_to_host": "device -> host",
    "device_to_device": "device -> device",
    "within_host": "by a copy in host memory that crosses on a GPU",
    "none": "",
}
_REMEDIES = {
    "Memory.to_host": "look at it on the device through insitu.as_torch, or copy it outside of the block",
    "Memory.copy_to": "look at it on the device through insitu.as_torch, or copy it outside of the block",
    "Memory.copy_from": "compute it on the device through insitu.as_torch, or write it outside of the block",
    "torch item": "keep the number a tensor until the end of the block",
    "torch copy": "make and keep the tensor on the device",
}


class HostTransferError(RuntimeError):
    """Data passed between device and host where none may."""


class Move(NamedTuple):
    """One transfer.

    Attributes
    ----------
    operation
        What did it: "Memory.to_host", "torch copy", "torch item", "cupy get", ...
    direction
        "within_host": between the solver's memory and a host array in a host mode, where both are one memory. "none": a wait of
        the host for the device.
    bytes, elements
        Of what was moved.
    synchronizations
        Times the host waited.
    """

    operation: str
    direction: Direction
    bytes: int = 0
    elements: int = 0
    synchronizations: int = 0


@dataclass
class Line:
    """Equal transfers of one origin.

    Attributes
    ----------
    who, where
        See `Origin`.
    operation, direction
        See `Move`.
    kind
        "number" is a single value; "control" what the solver itself needs, a few kilobytes: its check for finite values, its
        sums, its tables of coefficients; "field" all else.
    count, bytes, synchronizations
        Of all of them.
    """

    who: str
    where: str
    operation: str
    direction: Direction
    kind: Kind
    count: int = 0
    bytes: int = 0
    synchronizations: int = 0

    @property
    def passes_host(self) -> bool:
        """Whether these are field data between device and host."""
        return self.kind == "field" and self.direction in CROSSING

    @property
    def is_of_solver(self) -> bool:
        """Whether the device's own counters have it too."""
        return self.operation.startswith(("Memory.", "Device."))

    def __str__(self) -> str:
        size = f"{self.bytes} bytes {_WORDS[self.direction]}" if self.bytes else "a wait"
        return (
            f"{size} ({self.kind}), {self.count} × {self.operation} in {self.who} at {self.where}"
        )


Lines = dict[tuple[str, str, str, Direction, Kind], Line]


def add(
    sums: Lines,
    key: tuple[str, str, str, Direction, Kind],
    count: int,
    size: int,
    synchronizations: int,
) -> None:
    """Add to the line of an origin, operation, direction and kind."""
    line = sums.get(key)
    if line is None:
        line = sums[key] = Line(*key)
    line.count += count
    line.bytes += size
    line.synchronizations += synchronizations


def merged(lines: list[Line]) -> list[Line]:
    """Return lines with equal ones added up, in the order in which they first come."""
    sums: Lines = {}
    for line in lines:
        key = (line.who, line.where, line.operation, line.direction, line.kind)
        add(sums, key, line.count, line.bytes, line.synchronizations)
    return list(sums.values())


def kind_of(move: Move, origin: Origin) -> Kind:
    """Return what was moved."""
    if origin.who.startswith(_CONTROLLING):
        return "control"
    return "number" if move.elements == 1 else "field"


def refusal(move: Move, origin: Origin) -> HostTransferError:
    """Return the error of a transfer that may not be."""
    staged = origin.who.startswith(("solver.messages.", "insitu.collectives."))
    remedy = (
        "load an MPI that takes device buffers, and set INSITU_GPU_AWARE_MPI=1 where it does not say so"
        if staged
        else _REMEDIES.get(move.operation, "keep the array on the device")
    )
    return HostTransferError(
        f"nothing may pass between device and host here, got {move.bytes} bytes {_WORDS[move.direction]} by {move.operation} in "
        f"{origin.who} at {origin.where}; {remedy}"
    )


def table(lines: list[Line]) -> str:
    """Return lines as text, the largest first."""
    return "\n".join(map(str, sorted(lines, key=lambda line: -line.bytes)))

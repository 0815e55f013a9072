"""What ``insitu/cpp/insitu.cpp`` calls of Python, with plain values alone."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from insitu import ending
from insitu.application.coupling import InSitu
from insitu.bridge import on_stream
from insitu.case_errors import CaseError
from insitu.collectives import together
from solver import Grid, Neumann, Periodic

__all__ = ["Session", "Shown", "fail"]

_alarm: list[Any] = []  # a communicator on which nothing else is sent, for `fail`


class Shown:
    """An ``occa::memory`` of the application, as arrays are exchanged.

    Parameters
    ----------
    capsule
        Makes a DLPack capsule of all of it.
    where
        Its DLPack device.
    device
        Name of that device, as `solver.Device.open` takes it.
    """

    def __init__(self, capsule: Callable[[], Any], where: tuple[int, int], device: str):
        self._capsule, self._where, self.device_name = capsule, where, device

    def __dlpack__(self, **request: Any) -> Any:
        return self._capsule()

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._where


class Refused:
    """What stands for memory that cannot be shown: whoever looks at it is told why, and so are all ranks."""

    def __init__(self, reason: str):
        self._reason = reason

    @property
    def device_name(self) -> str:
        """Raise a CaseError."""
        raise CaseError(self._reason)

    def __dlpack__(self, **request: Any) -> Any:
        raise CaseError(self._reason)

    def __dlpack_device__(self) -> tuple[int, int]:
        raise CaseError(self._reason)


class Session:
    """A run of `insitu.InSitu` for the C++ class of this name.

    Parameters
    ----------
    case, overrides, output
        See `insitu.InSitu`.
    handle
        The Fortran handle of the application's communicator; below 0: no ranks.
    """

    def __init__(self, case: str, overrides: Mapping[str, str], output: str, handle: int):
        self._comm = _communicator(handle)
        if self._comm is not None and not _alarm:
            _alarm.append(self._comm.Dup())
        self._coupling = InSitu(case, overrides, output, self._comm)

    @property
    def seconds(self) -> float:
        """Seconds spent in steps so far."""
        return self._coupling.seconds

    def value(self, key: str) -> Any:
        """See `InSitu.value`."""
        return self._coupling.value(key)

    def declare(
        self,
        points: Sequence[int],
        extent: Sequence[Sequence[float]],
        periodic: Sequence[bool],
        begin: Sequence[int],
        block: Sequence[int],
    ) -> None:
        """See `InSitu.declare`; where no points are given, the grid is the case's."""
        grid = None
        if points:
            closed = periodic or [True] * len(points)
            sides = [
                (Periodic(), Periodic()) if each else (Neumann(), Neumann()) for each in closed
            ]
            spans = tuple((float(low), float(high)) for low, high in extent)
            grid = Grid(tuple(points), spans, tuple(sides))
        self._coupling.declare(grid, begin or None, block or None)

    def register(
        self, name: str, shown: Shown | Refused, components: int, ghost: Sequence[int]
    ) -> None:
        """See `InSitu.register`."""
        self._coupling.register(name, shown, components, tuple(ghost) or 0)

    def register_target(
        self, name: str, shown: Shown | Refused, components: int, ghost: Sequence[int]
    ) -> None:
        """See `InSitu.register_target`."""
        self._coupling.register_target(name, shown, components, tuple(ghost) or 0)

    def update(self) -> None:
        """See `InSitu.update`."""
        with self._on_stream():
            self._coupling.update()

    def step(self, time: float, step: int, stream: int, gone: str) -> int:
        """See `InSitu.step`.

        Parameters
        ----------
        stream
            The native stream on which the application launches; 0: none.
        gone
            Name of a field whose memory the application has freed.
        """
        self._coupling.note_moved(gone or None)
        self._stream = stream
        with self._on_stream():
            return self._coupling.step(time, step)

    _stream = 0

    def learn(self) -> None:
        """See `InSitu.learn`."""
        with self._on_stream():
            self._coupling.learn()

    def forecast(self, ahead: int, name: str, shown: Shown | Refused) -> None:
        """Write `InSitu.forecast` into memory that is laid out as the field's own."""
        with self._on_stream():
            with together(self._coupling.comm):
                target = self._coupling.laid_out_as(name, shown)
            values = self._coupling.forecast(ahead, name)
            with on_stream(self._coupling.device):
                target.copy_(values)

    def coefficients(self) -> list[float]:
        """See `InSitu.coefficients`."""
        with self._on_stream():
            return self._coupling.coefficients().tolist()

    def finish(self) -> None:
        """See `InSitu.finish`."""
        with self._on_stream():
            self._coupling.finish()

    def table(self) -> str:
        """See `insitu.report.Report.table`."""
        return "" if self._coupling.report is None else self._coupling.report.table()

    def abandon(self) -> None:
        """Note a run without an end as failed."""
        self._coupling.fail(RuntimeError("the application ended its session without finish()"))

    @contextlib.contextmanager
    def _on_stream(self) -> Iterator[None]:
        if self._stream:
            with self._coupling.device.launch_on(self._stream):
                yield
        else:
            yield


def fail(message: str) -> None:
    """Tell why and end all ranks; see `insitu.ending.fail`."""
    if _alarm and _alarm[0].size > 1:
        ending.fail(_alarm[0], 1, message)
    print(message, file=sys.stderr, flush=True)
    sys.exit(1)


def _communicator(handle: int) -> Any:
    """Return the application's communicator, whose MPI it begins and ends itself."""
    if handle < 0:
        return None
    import mpi4py

    mpi4py.rc.initialize = mpi4py.rc.finalize = False
    from mpi4py import MPI

    if not MPI.Is_initialized():
        library = MPI.Get_library_version().splitlines()[0].strip("\x00 ")
        raise CaseError(
            f"the application and mpi4py must use one MPI library, mpi4py uses another ({library}); set MPI4PY_LIBMPI to the "
            "application's libmpi.so, or build mpi4py against it"
        )
    if not MPI.Is_thread_main() and MPI.Query_thread() < MPI.THREAD_SERIALIZED:
        raise CaseError(
            "an application that makes its session in another thread than the one that began MPI must begin MPI with "
            f"MPI_THREAD_SERIALIZED or more, got level {MPI.Query_thread()} of 0 to 3; call MPI_Init_thread so, or make it there"
        )
    return MPI.Comm.f2py(handle)

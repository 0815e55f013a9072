"""How ranks end together.

It is imported first and needs nothing but Python and mpi4py: where this process is the command ``insitu`` under a launcher, an
import that fails on one rank must end all. MPICH's launcher does not end them, they would wait for that rank in MPI_Init.
"""

import contextlib
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = ["LAUNCHED", "fail", "is_launched", "world"]

LAUNCHED = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "PALS_RANKID", "SLURM_PROCID")
_ALL, _LOWER, _LIMIT = (
    2.0,
    0.5,
    3,
)  # seconds to wait for all ranks to fail, for a lower one to fail, for the end


def is_launched() -> bool:
    """Return whether this process has the marks of an MPI launcher."""
    return any(name in os.environ for name in LAUNCHED)


def world() -> Any:
    """Return MPI's world, or None where no MPI library can be used."""
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError):
        return None
    return MPI.COMM_WORLD


def _fail_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    comm = world()
    if comm is None or comm.size == 1:
        sys.__excepthook__(kind, error, trace)
    else:
        fail(comm.Dup(), 1, "".join(traceback.format_exception(error)).rstrip())


def fail(comm: Any, code: int, message: str) -> None:
    """Print why and end all ranks with an exit code; does not return.

    Where all ranks fail, as they do on bad input, rank 0 speaks and all exit in order. Else the lowest that failed speaks, and
    the others are aborted wherever they are.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
        A communicator that nothing else uses.
    """
    try:
        all_failed = _all_arrive(comm)
        speaks = comm.rank == 0 if all_failed else _is_lowest(comm)
    except Exception:
        all_failed, speaks = False, True
    if speaks:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            print(message, file=sys.stderr, flush=True)
    if all_failed:
        _finalize()
        sys.exit(code)
    if not speaks:
        time.sleep(_LIMIT)
    comm.Abort(code)


def _finalize() -> None:
    """Leave MPI; a message that never came may keep it from ending: then this process is killed, and with it all."""
    from mpi4py import MPI

    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_LIMIT)
    MPI.Finalize()
    signal.alarm(0)


def _all_arrive(comm: Any) -> bool:
    """Return whether all ranks come here within a moment."""
    everyone, deadline = comm.Ibarrier(), time.monotonic() + _ALL
    while not everyone.Test():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _is_lowest(comm: Any) -> bool:
    """Return whether no lower rank comes here within a moment."""
    from mpi4py import MPI

    for rank in range(comm.rank + 1, comm.size):
        comm.Isend([None, 0, MPI.BYTE], rank)
    deadline = time.monotonic() + _LOWER
    while comm.rank and time.monotonic() < deadline:
        if comm.Iprobe():
            return False
        time.sleep(0.01)
    return True


if is_launched() and Path(sys.argv[0]).name in ("insitu", "-m"):
    sys.excepthook = _fail_uncaught

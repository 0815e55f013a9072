"""How many cores a rank may use."""

import os
from typing import Any

from solver.mpi import ranks_on_node

__all__ = ["share_cores", "thread_count", "thread_limit"]

_share = 0


def thread_count() -> int:
    """Return how many threads an OpenMP kernel gets.

    They are OMP_NUM_THREADS where it is set, else this rank's share of the cores that this process may run on.
    """
    return _asked() or _share or len(os.sched_getaffinity(0))


def thread_limit() -> int:
    """Return the number of threads to which kernels must be held, 0 where OpenMP's own choice is right."""
    return 0 if _asked() else _share


def _asked() -> int:
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(first) if first.isdigit() else 0


def share_cores(comm: Any) -> None:
    """Divide each core among the ranks on this node that may run on it.

    Ranks that the launcher bound to cores of their own keep them; all others get at least one.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm or None
        All its ranks take part. None: this rank is alone.
    """
    global _share
    if comm is None or comm.size == 1:
        return
    own = os.sched_getaffinity(0)
    with ranks_on_node(comm) as node:
        everyone = node.allgather(own)
    _share = max(1, int(sum(1 / sum(core in other for other in everyone) for core in own) + 1e-9))

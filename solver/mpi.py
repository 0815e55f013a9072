"""What the MPI library can do, and which ranks share a node."""

import contextlib
import ctypes
import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from solver.errors import DeviceError

__all__ = ["gpu_aware", "gpu_awareness", "ranks_on_node"]

_QUERIES = ("MPIX_Query_cuda_support", "MPIX_Query_rocm_support", "MPIX_Query_hip_support")


def gpu_aware(comm: Any) -> bool:
    """Return whether MPI takes device buffers; see `gpu_awareness`."""
    return gpu_awareness(comm)[0]


def gpu_awareness(comm: Any) -> tuple[bool, str]:
    """Return whether MPI takes device buffers, and who says so.

    The library's own MPIX_Query_..._support is asked first; Cray MPICH, where it counts only with
    MPICH_GPU_SUPPORT_ENABLED, and a library without such a function are taken at that variable.
    INSITU_GPU_AWARE_MPI overrules: 0 always, 1 where the library does not deny it.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm or None
        None, one rank without MPI, needs no device buffers. No messages are exchanged.

    Raises
    ------
    DeviceError
        INSITU_GPU_AWARE_MPI is neither 0 nor 1, or is 1 and the library denies it: such an MPI
        would read device addresses as if they were the host's.
    """
    forced = os.environ.get("INSITU_GPU_AWARE_MPI", "")
    if forced not in ("", "0", "1"):
        raise DeviceError(
            f"INSITU_GPU_AWARE_MPI must be 0 or 1, got {forced!r}; unset it to ask the MPI library"
        )
    if comm is None:
        return False, "no MPI"
    if forced == "0":
        return False, "INSITU_GPU_AWARE_MPI=0"
    given, source = _library_says()
    if forced == "1" and not given and source in _QUERIES:
        raise DeviceError(
            f"INSITU_GPU_AWARE_MPI=1 needs an MPI that takes device buffers, this one's {source} says no; "
            "load a GPU-aware MPI or unset it"
        )
    return (True, "INSITU_GPU_AWARE_MPI=1") if forced == "1" else (given, source)


@contextlib.contextmanager
def ranks_on_node(comm: Any) -> Iterator[Any]:
    """Give the communicator of the ranks that share this rank's node.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
        All its ranks take part.
    """
    from mpi4py import MPI

    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    try:
        yield node
    finally:
        node.Free()


@functools.cache
def _library_says() -> tuple[bool, str]:
    from mpi4py import MPI

    switch = "MPICH_GPU_SUPPORT_ENABLED"
    found = {} if "CRAY" in MPI.Get_library_version().upper() else _queries()
    for name, answer in found.items():
        if answer:
            return True, name
    if found:
        return False, next(iter(found))
    return os.environ.get(switch) == "1", f"{switch}={os.environ.get(switch, '')}".rstrip("=")


def _queries() -> dict[str, bool]:
    """Return the answers of the functions that the MPI library of this process has."""
    mapped = {
        line.split(maxsplit=5)[-1] for line in Path("/proc/self/maps").read_text().splitlines()
    }
    answers = {}
    for path in sorted(path for path in mapped if Path(path).name.startswith("libmpi")):
        library = ctypes.CDLL(path)
        for name in _QUERIES:
            if hasattr(library, name):
                answers[name] = bool(getattr(library, name)())
    return answers

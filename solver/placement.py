"""Which GPU a rank takes."""

import contextlib
import ctypes
import os
import warnings
from typing import Any

from solver import _occa
from solver.errors import DeviceError
from solver.mpi import ranks_on_node

__all__ = ["choose_gpu", "gpu_identity", "tell_of_sharing"]

_VISIBLE = {
    "CUDA": ("CUDA_VISIBLE_DEVICES",),
    "HIP": ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"),
}


def choose_gpu(mode: str, comm: Any) -> int:
    """Return the number of this rank's GPU: its number on the node modulo the GPUs that the process sees.

    INSITU_GPU_ORDER=reverse counts them from the last, as nodes want it whose first cores are nearest to the last GPU.

    Parameters
    ----------
    mode : str
        "CUDA" or "HIP".
    comm : mpi4py.MPI.Comm or None
        All its ranks take part. None: this rank is alone.

    Raises
    ------
    DeviceError
        INSITU_GPU_ORDER is neither forward nor reverse.
    """
    order = os.environ.get("INSITU_GPU_ORDER", "forward")
    if order not in ("forward", "reverse"):
        raise DeviceError(
            f"INSITU_GPU_ORDER must be forward or reverse, got {order!r}; correct or unset it"
        )
    count, local = max(1, _occa.device_count(mode)), 0
    if comm is not None and comm.size > 1:
        with ranks_on_node(comm) as node:
            local = node.rank
    chosen = local % count
    return count - 1 - chosen if order == "reverse" else chosen


def tell_of_sharing(mode: str, ordinal: int, comm: Any) -> None:
    """Warn, on the lowest rank concerned, where ranks of a node share a GPU; all ranks take part."""
    if comm is None or comm.size == 1:
        return
    with ranks_on_node(comm) as node:
        gpus, size = node.allgather(gpu_identity(mode, ordinal)), node.size
    sharing = gpus.count(gpu_identity(mode, ordinal))
    lowest = min(comm.allgather(comm.rank if sharing > 1 else comm.size))
    if comm.rank == lowest:
        warnings.warn(
            f"{sharing} of {size} ranks on a node share GPU {mode}:{ordinal}; start one rank for each GPU to use them fully",
            stacklevel=3,
        )


def gpu_identity(mode: str, ordinal: int) -> str:
    """Return what tells this node's GPUs apart: the UUID in mode CUDA, else the number among those that exist."""
    if mode == "CUDA":
        with contextlib.suppress(OSError, AttributeError):
            return _uuid(ordinal)
    visible = next((os.environ[name] for name in _VISIBLE[mode] if os.environ.get(name)), "")
    numbers = visible.split(",")
    return numbers[ordinal].strip() if ordinal < len(numbers) and visible else str(ordinal)


def _uuid(ordinal: int) -> str:
    driver, device, uuid = (
        ctypes.CDLL("libcuda.so.1"),
        ctypes.c_int(),
        ctypes.create_string_buffer(16),
    )
    ask = getattr(driver, "cuDeviceGetUuid_v2", None) or driver.cuDeviceGetUuid
    if driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), ordinal) or ask(uuid, device):
        raise OSError(f"the driver does not tell the UUID of GPU {ordinal}")
    return uuid.raw.hex()

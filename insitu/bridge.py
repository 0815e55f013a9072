"""The one door between the solver's memory and the array libraries: views, never copies."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from solver import Device, DeviceError, Field, Memory

if TYPE_CHECKING:
    import cupy

__all__ = ["as_cupy", "as_numpy", "as_torch", "from_array", "on_stream", "to_host", "torch_device"]


def as_torch(source: Field | Memory) -> torch.Tensor:
    """Return a tensor on the very same memory.

    Parameters
    ----------
    source : Field or Memory
        A field gives its interior, shape ``(components, *points)``, strided around the ghosts.

    Returns
    -------
    torch.Tensor
        Same pointer, strides, dtype and device; it keeps the memory alive and shows whatever the solver writes there, so
        copy what must not change. Torch's current stream waits for the solver's; nobody on the host does.

    Raises
    ------
    BufferError
        The memory is read-only, which torch would ignore, or has no address (mode OpenCL).
    """
    memory = source.interior if isinstance(source, Field) else source
    if memory.readonly:
        raise BufferError(
            "torch has no read-only tensors, got read-only memory; wrap a writable array or use as_numpy"
        )
    return torch.from_dlpack(source)


def as_numpy(source: Field | Memory) -> np.ndarray:
    """Return a NumPy array on the very same memory; host modes only.

    Parameters
    ----------
    source : Field or Memory
        A field gives its interior, shape ``(components, *points)``.

    Raises
    ------
    DeviceError
        The memory is on a GPU; ``to_host()`` copies it.
    """
    memory = source.interior if isinstance(source, Field) else source
    if memory.__dlpack_device__()[0] != 1:
        raise DeviceError(
            f"a NumPy view needs host memory, got {memory!r}; use as_cupy or as_torch, or copy with to_host()"
        )
    return np.asarray(memory)


def as_cupy(source: Field | Memory) -> "cupy.ndarray":
    """Return a CuPy array on the very same memory; modes CUDA and HIP.

    CuPy's current stream waits for the solver's; nobody on the host does. See `as_torch` for the lifetime.

    Raises
    ------
    ImportError
        CuPy is not installed.
    DeviceError
        The memory is on the host.
    """
    memory = source.interior if isinstance(source, Field) else source
    if memory.__dlpack_device__()[0] not in (2, 10):
        raise DeviceError(f"a CuPy view needs GPU memory, got {memory!r}; use as_numpy or as_torch")
    return _cupy().from_dlpack(source)


def from_array(device: Device, array: Any) -> Memory:
    """Show a NumPy, torch, CuPy or JAX array to the solver's kernels, in place; see `solver.Device.wrap`."""
    return device.wrap(array)


@contextlib.contextmanager
def on_stream(device: Device) -> Iterator[None]:
    """Let torch and CuPy work on the solver's stream inside the block.

    What they had queued before is finished first, and what follows the block waits for it, by events; the host waits for
    nothing. Host modes have no streams and need none.
    """
    if device.mode not in ("CUDA", "HIP"):
        yield
        return
    where = torch_device(device)
    before = torch.cuda.current_stream(where)
    stream = torch.cuda.ExternalStream(device.stream.handle, device=where)
    stream.wait_stream(before)
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(torch.cuda.stream(stream))
            with contextlib.suppress(ImportError):
                stack.enter_context(_cupy_stream(device))
            yield
    finally:
        before.wait_stream(stream)


def torch_device(device: Device) -> torch.device:
    """Return where torch sees the solver's memory.

    Raises
    ------
    DeviceError
        Torch cannot see it: mode OpenCL, or a torch built without this GPU's toolkit.
    """
    if device.is_host:
        return torch.device("cpu")
    if device.mode == "OpenCL":
        raise DeviceError(
            "learning needs memory that torch can see, mode OpenCL has none; choose OpenMP, CUDA or HIP"
        )
    if not torch.cuda.is_available():
        raise DeviceError(
            f"learning in mode {device.mode} needs a torch that sees the GPU, torch {torch.__version__} does not; install one"
        )
    return torch.device("cuda", device.ordinal)


def to_host(tensor: torch.Tensor) -> np.ndarray:
    """Return a NumPy array of a tensor: a view where it is on the host, a copy where it is not."""
    return tensor.detach().cpu().numpy()


def _cupy_stream(device: Device) -> Any:
    cuda = _cupy().cuda
    if hasattr(cuda.Stream, "from_external"):
        return cuda.Stream.from_external(device.stream)
    return cuda.ExternalStream(device.stream.handle, device.ordinal)


def _cupy() -> Any:
    import cupy

    return cupy

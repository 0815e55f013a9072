"""A device: one OCCA mode on one processor or GPU, with one stream on which every kernel runs."""

import atexit
import contextlib
import json
import math
import os
import shutil
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from solver import _drivers as _drivers  # before _occa
from solver import _occa, jit, kernel
from solver.errors import DeviceError
from solver.placement import choose_gpu, tell_of_sharing
from solver.threads import share_cores, thread_limit

MODES = ("Serial", "OpenMP", "CUDA", "HIP", "OpenCL")

# No contraction of a*b+c, so that every mode rounds alike; the others change no result.
_HOST_FLAGS = "-O3 -march=native -ffp-contract=off -fno-math-errno -fno-trapping-math"
_GPU_FLAGS = {"CUDA": "-O3 --fmad=false", "HIP": "-O3 -ffp-contract=off", "OpenCL": ""}

_open_devices: "weakref.WeakSet[Device]" = weakref.WeakSet()


class Device:
    """One OCCA device. Made by `Device.open`.

    Attributes
    ----------
    mode : str
        "Serial", "OpenMP", "CUDA", "HIP" or "OpenCL".
    ordinal : int
        Number of the GPU; 0 for host modes.
    """

    def __init__(self, native: _occa.Device):
        self._native = native
        self.mode: str = native.mode
        self.ordinal: int = native.ordinal
        _open_devices.add(self)

    @classmethod
    def open(cls, name: str = "auto", comm: Any = None) -> "Device":
        """Open a device by name.

        Parameters
        ----------
        name : str
            "Serial", "OpenMP", "CUDA", "CUDA:1", "HIP:0", "OpenCL", "OpenCL:platform:device";
            "gpu": the first present of CUDA, HIP; "cpu": of OpenMP, Serial; or "auto": the
            environment variable INSITU_DEVICE where it is set, else gpu or cpu. (A run's case is overruled by that variable
            whatever it names, see `name_of_run`.)
        comm : mpi4py.MPI.Comm, optional
            The ranks of the run, all of which open a device. It chooses the GPU where the name
            leaves it open, see `placement.choose_gpu`, and divides the node's cores among its
            ranks, see `threads.share_cores`.

        Raises
        ------
        DeviceError
            The mode is unknown, not built in, or has no device on this machine; the kernel cache
            cannot be written; no compiler is found.

        Warns
        -----
        UserWarning
            Ranks share a GPU: said once, by the lowest of them.
        """
        mode, numbers = _parse(name)
        _require_present(mode)
        share_cores(comm)
        if mode in ("CUDA", "HIP"):
            numbers = numbers or [choose_gpu(mode, comm)]
            tell_of_sharing(mode, numbers[0], comm)
        building: dict[str, Any] = {"compiler_flags": _flags(mode), "type_validation": False}
        properties: dict[str, Any] = {"mode": mode, "kernel": building}
        if mode not in ("Serial", "OpenMP"):
            properties["device_id"] = numbers[-1] if numbers else 0
        if mode == "OpenCL":
            properties["platform_id"] = numbers[0] if len(numbers) == 2 else 0
        compiler = _host_compiler(mode)
        if mode in ("Serial", "OpenMP"):
            building["compiler"] = compiler
        with jit.exclusive(jit.prepare_cache()), jit.captured_output() as output:
            try:
                native = _occa.Device(mode, properties.get("device_id", 0), json.dumps(properties))
            except DeviceError as error:
                failure = str(error)
            else:
                failure = ""
        if failure:
            raise DeviceError(
                f"device {name!r} cannot be opened: {failure}; `insitu info` lists what is there\n"
                f"{output.text}".strip()
            )
        return cls(native)

    def allocate(self, shape: tuple[int, ...] | int, dtype: Any = "float64") -> _occa.Memory:
        """Allocate uninitialised memory.

        Parameters
        ----------
        shape : tuple of int
            Extents, row-major; an extent may be 0.
        dtype : str or numpy.dtype
            int32, int64, float32 or float64.

        Raises
        ------
        DeviceError
            More than the device has.
        ShapeError
            A negative extent or another dtype.
        """
        return _occa.allocate(
            self._native, [shape] if isinstance(shape, int) else list(shape), dtype
        )

    def host_buffer(self, shape: tuple[int, ...] | int, dtype: Any = "float64") -> np.ndarray:
        """Return a NumPy array on the host for copies to and from this device.

        In modes CUDA and HIP its pages are pinned, so that copies go at the link's full speed.

        Raises
        ------
        DeviceError
            The host has no more memory to give.
        """
        extents = (shape,) if isinstance(shape, int) else shape
        size = math.prod(extents)
        return (
            self._native.host_buffer(size * np.dtype(dtype).itemsize).view(dtype).reshape(extents)
        )

    def wrap(self, array: Any) -> _occa.Memory:
        """Show an array of this device to kernels, in place.

        Parameters
        ----------
        array : NumPy, torch, CuPy or JAX array
            Anything with ``__dlpack__`` that lives on this device; it is kept alive as long as
            the memory.

        Raises
        ------
        DeviceError
            The array lives elsewhere.
        ShapeError
            Its dtype or strides cannot be used.
        BufferError
            The array refuses, as a torch tensor that requires grad does.
        """
        return _occa.wrap(self._native, array)

    def build(
        self, source: str | os.PathLike[str], name: str, defines: Mapping[str, Any] | None = None
    ) -> _occa.Kernel:
        """Compile a kernel, or load it from the cache.

        Parameters
        ----------
        source : str or path
            A file, the name of a file shipped with this package ("burgers.okl"), or OKL source
            text.
        name : str
            The ``@kernel`` function in it.
        defines : mapping, optional
            Macros: numbers, booleans, or text that is pasted as it is ("float").

        Returns
        -------
        Kernel
            Called as ``kernel(n, 2.0, a, b)``. An argument declared ``double *a @dim(n)`` must
            hold at least n elements.

        Raises
        ------
        KernelBuildError
            With OCCA's and the compiler's own text.
        """
        built = kernel.build(self._native, source, name, defines or {})
        built.threads = thread_limit() if self.mode == "OpenMP" else 0
        return built

    def finish(self) -> None:
        """Wait until everything launched on this device's stream is done."""
        self._native.finish()

    def tag(self) -> _occa.Tag:
        """Mark this point in the stream.

        ``first.seconds_until(second)`` is the device's time between two.
        """
        return self._native.tag()

    @property
    def stream(self) -> "Stream":
        """The stream OCCA launches on; CUDA and HIP."""
        if self.mode not in ("CUDA", "HIP"):
            raise DeviceError(
                f"a native stream exists in modes CUDA and HIP, this device is {self.mode}; "
                "launches are ordered as they are"
            )
        return Stream(self, self._native.stream)

    @contextlib.contextmanager
    def launch_on(self, stream: Any) -> Iterator[None]:
        """Launch on a stream of someone else inside the block.

        What is launched inside comes after what was launched before, and what is launched after
        the block comes after what was launched inside; the host does not wait.

        Parameters
        ----------
        stream : int or object
            A native stream of this device: its handle, or an object with ``__cuda_stream__``,
            ``cuda_stream`` (torch) or ``ptr`` (CuPy).
        """
        before = self._native.stream
        self._native.set_stream(_native_stream(stream))
        try:
            yield
        finally:
            self._native.set_stream(before)

    @property
    def transfers(self) -> dict[str, int]:
        """What was copied so far.

        Bytes by direction (host_to_device, device_to_host, device_to_device: none of the first
        two where the device is the host), and the numbers of copies and of synchronizations.
        """
        return self._native.transfers

    @property
    def is_host(self) -> bool:
        """Whether kernels run in the host's memory."""
        return self.mode in ("Serial", "OpenMP")

    @property
    def dlpack_device(self) -> tuple[int, int]:
        """The (type, number) by which DLPack names this device."""
        return self._native.dlpack_device

    @property
    def memory_bytes(self) -> int:
        """The device's memory in bytes."""
        return self._native.memory_bytes

    def __repr__(self) -> str:
        return f"Device({self.mode}:{self.ordinal})" if not self.is_host else f"Device({self.mode})"


class Stream:
    """A native stream of a device, in the form of the ``__cuda_stream__`` protocol.

    Attributes
    ----------
    handle : int
        The CUstream or hipStream_t.
    """

    def __init__(self, device: Device, handle: int):
        self.device = device
        self.handle = handle

    def __cuda_stream__(self) -> tuple[int, int]:
        """Return (protocol version, handle)."""
        return 0, self.handle


def build_information() -> dict[str, Any]:
    """Return OCCA's version, where it came from, and the modes built in and present."""
    return {
        "version": _occa.occa_version,
        "origin": f"{_occa.occa_origin} {_occa.occa_dir}".strip(),
        "modes_built": _occa.modes_built(),
        "modes_present": modes_present(),
    }


def gpu_count(mode: str) -> int:
    """Return how many GPUs the driver of mode CUDA or HIP shows."""
    return _occa.device_count(mode)


def modes_present() -> list[str]:
    """Return the modes that are built in and have a device on this machine."""
    return [mode for mode in _occa.modes_built() if _occa.is_present(mode)]


def name_of_run(name: str) -> str:
    """Return the name of the device of a whole run: INSITU_DEVICE where it is set, else the name its case gives."""
    return os.environ.get("INSITU_DEVICE") or name


def _first_present(name: str) -> str:
    """Return the best mode that is present for auto, gpu or cpu; other names as they are."""
    modes = {
        "auto": ("CUDA", "HIP", "OpenMP", "Serial"),
        "gpu": ("CUDA", "HIP"),
        "cpu": ("OpenMP", "Serial"),
    }
    wanted = modes.get(name.lower())
    if wanted is None:
        return name
    present = [mode for mode in wanted if mode in modes_present()]
    if not present:
        raise DeviceError(
            f"device {name} needs one of the modes {', '.join(wanted)}, none has a device on this machine; "
            f"choose one of {', '.join(modes_present())}"
        )
    return present[0]


def _parse(name: str) -> tuple[str, list[int]]:
    name = name_of_run(name) if name == "auto" else name
    head, *tail = _first_present(name).split(":")
    mode = {known.lower(): known for known in MODES}.get(head.lower())
    numbers = {"Serial": 0, "OpenMP": 0, "OpenCL": 2}.get(mode or "", 1)
    if mode is None or len(tail) > numbers or not all(part.isdigit() for part in tail):
        raise DeviceError(
            f"device must be auto, cpu, gpu or one of {', '.join(MODES)}, with a number as in CUDA:0, "
            f"got {name!r}; correct the name"
        )
    return mode, [int(part) for part in tail]


def _require_present(mode: str) -> None:
    if mode not in _occa.modes_built():
        remedy = (
            "set OCCA_DIR to an OCCA built with it"
            if mode == "HIP" or _occa.occa_origin == "site"
            else f"install the {mode} headers and reinstall"
        )
        built = ", ".join(_occa.modes_built())
        raise DeviceError(f"mode {mode} must be built in, this build has {built}; {remedy}")
    if (
        mode in ("CUDA", "HIP")
        and _occa.occa_origin == "site"
        and _occa.occa_version_number < 20000
    ):
        raise DeviceError(
            f"mode {mode} needs the bundled OCCA or a site's OCCA 2, this is a site's {_occa.occa_version}, whose private "
            "context torch and CuPy cannot share; unset OCCA_DIR and reinstall, or name an OCCA 2"
        )
    if not _occa.is_present(mode):
        raise DeviceError(
            f"mode {mode} needs a device and driver, none is found on this machine; "
            f"choose one of {', '.join(modes_present())}"
        )


def _flags(mode: str) -> str:
    if mode not in ("Serial", "OpenMP"):
        return _GPU_FLAGS[mode]
    flags = os.environ.get("OCCA_CXXFLAGS") or _HOST_FLAGS
    if _occa.occa_version_number < 20000:
        flags += f" -I{jit.stub_directory()}"
    elif mode == "OpenMP":
        flags += " -fopenmp"
    return flags


def _host_compiler(mode: str) -> str:
    compiler = os.environ.get("OCCA_CXX") or os.environ.get("CXX") or "g++"
    if shutil.which(compiler.split()[0]) is None:
        raise DeviceError(
            f"mode {mode} compiles kernels with {compiler!r}, which is not found; "
            "install it or set OCCA_CXX"
        )
    return compiler


def _native_stream(stream: Any) -> int:
    if hasattr(stream, "__cuda_stream__"):
        return stream.__cuda_stream__()[1]
    for attribute in ("cuda_stream", "ptr"):
        if hasattr(stream, attribute):
            return int(getattr(stream, attribute))
    return int(stream)


@atexit.register
def _finish_all() -> None:
    """OpenCL's worker threads must be idle before the interpreter goes."""
    for device in list(_open_devices):
        with contextlib.suppress(DeviceError):
            device.finish()

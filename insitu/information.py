"""What is installed, what it can use, and what is missing with its remedy: ``insitu info``."""

import importlib.util
import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from insitu.case_errors import CaseError
from insitu.launch import require_one_world
from solver import (
    Device,
    DeviceError,
    build_information,
    cache_directory,
    gpu_awareness,
    gpu_count,
    gpu_identity,
    thread_count,
)

__all__ = ["cmake_directory", "describe"]

_REMEDIES = {
    "OpenMP": "reinstall with a compiler that supports OpenMP",
    "CUDA": "install the CUDA toolkit (for its headers and nvcc) and reinstall",
    "HIP": "set OCCA_DIR to an OCCA 2 built with HIP and reinstall",
    "OpenCL": "install the OpenCL headers and reinstall",
}


def describe(comm: Any = None) -> str:
    """Return the whole report of ``insitu info``.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm, optional
        All its ranks take part, and their places are listed.
    """
    occa = build_information()
    lines = [
        f"insitu       {version('insitu')}, Python {platform.python_version()}, {platform.platform()}",
        f"OCCA         {occa['version']}, {occa['origin']}",
        f"modes        built: {', '.join(occa['modes_built'])}; present: {', '.join(occa['modes_present'])}",
        f"GPUs         CUDA: {gpu_count('CUDA')}, HIP: {gpu_count('HIP')}",
        f"compilers    host: {_found(os.environ.get('OCCA_CXX') or os.environ.get('CXX') or 'g++')}, "
        f"CUDA: {_found(os.environ.get('OCCA_CUDA_COMPILER', 'nvcc'))}",
        f"kernel cache {cache_directory()}",
        f"MPI          {_mpi(comm)}",
        f"torch        {torch.__version__}, {_torch_devices()}",
        f"CuPy         {_cupy()}",
        f"scikit-learn {version('scikit-learn')}",
        *_places(comm),
    ]
    return "\n".join(lines + [f"missing      {line}" for line in _missing(occa, comm)])


def cmake_directory() -> Path:
    """Return where CMake finds the package insitu, for C++ applications."""
    return Path(__file__).parent / "cpp" / "cmake"


def _places(comm: Any) -> list[str]:
    """Return a line for each rank: its host, and the device that a run without further wishes takes there."""
    try:
        device = Device.open("auto", comm)
    except DeviceError as error:
        taken = str(error)
    else:
        cores = f"threads: {thread_count()}, cores: {len(os.sched_getaffinity(0))}"
        taken = f"{device.mode}, {cores}" if device.is_host else f"{device.mode}:{device.ordinal}"
        if device.mode in ("CUDA", "HIP"):
            taken += f" ({gpu_identity(device.mode, device.ordinal)})"
    own = f"{platform.node()}, {taken}"
    everyone = [own] if comm is None else comm.allgather(own)
    return [f"rank {rank:<7} {place}" for rank, place in enumerate(everyone)]


def _found(command: str) -> str:
    return shutil.which(command.split()[0]) or f"{command} not found"


def _mpi(comm: Any) -> str:
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        return f"not usable: {str(error).splitlines()[0]}"
    library = MPI.Get_library_version().splitlines()[0].strip().rstrip("\x00")
    try:
        given, source = gpu_awareness(MPI.COMM_WORLD)
    except DeviceError as error:
        return f"{library}; {error}"
    answer = "yes" if given else "no, fields are staged through the host"
    return f"{library}, ranks: {1 if comm is None else comm.size}, GPU-aware: {answer} ({source})"


def _torch_devices() -> str:
    if not torch.cuda.is_available():
        return "sees no GPU"
    return "sees " + ", ".join(
        torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())
    )


def _cupy() -> str:
    if importlib.util.find_spec("cupy") is None:
        return "not installed"
    try:
        import cupy

        return f"{cupy.__version__}, {'sees a GPU' if cupy.cuda.is_available() else 'sees no GPU'}"
    except (ImportError, PackageNotFoundError) as error:
        return f"not usable: {error}"


def _missing(occa: dict[str, Any], comm: Any) -> list[str]:
    lines = []
    for mode in ("OpenMP", "CUDA", "HIP", "OpenCL"):
        if mode not in occa["modes_built"]:
            lines.append(f"mode {mode} is not built in; {_REMEDIES[mode]}")
        elif mode not in occa["modes_present"]:
            lines.append(
                f"mode {mode} has no device or driver here; install the driver or move to a node that has one"
            )
    if _mpi(comm).startswith("not usable"):
        lines.append(
            "an MPI library for mpi4py; install the extra insitu[mpich], or load the site's MPI"
        )
    try:
        require_one_world(comm)
    except CaseError as error:
        lines.append(f"ranks in one world: {error}")
    if importlib.util.find_spec("cupy") is None and "CUDA" in occa["modes_present"]:
        lines.append("CuPy; install the extra insitu[cuda12] or insitu[cuda13]")
    return lines

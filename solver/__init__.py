"""OCCA-driven PDE solvers: devices, memory, kernels, fields, simulations."""

from solver import _drivers as _drivers
from solver._occa import Kernel, Memory, Tag
from solver.boundaries import Boundary, Dirichlet, Neumann, Periodic, Slip, Wall
from solver.decomposition import Decomposition
from solver.device import (
    Device,
    Stream,
    build_information,
    gpu_count,
    modes_present,
    name_of_run,
)
from solver.equations import (
    AdvectionDiffusion,
    Burgers,
    Discretization,
    Equation,
    KuramotoSivashinsky,
    NavierStokes,
)
from solver.errors import (
    ArgumentError,
    DeviceError,
    DivergenceError,
    KernelBuildError,
    MemoryInUseError,
    ParameterError,
    ShapeError,
    SolverError,
)
from solver.field import Field
from solver.grid import Block, Grid
from solver.halo import Halo
from solver.jit import cache_directory
from solver.mpi import gpu_awareness
from solver.placement import gpu_identity
from solver.ranks import Ranks
from solver.recorder import Moment, Recorder
from solver.sharing import Share
from solver.simulation import Simulation
from solver.staggered import face_coordinates, on_centres, on_faces
from solver.threads import thread_count
from solver.trial import Trial

__all__ = [
    "AdvectionDiffusion",
    "ArgumentError",
    "Block",
    "Boundary",
    "Burgers",
    "Decomposition",
    "Device",
    "DeviceError",
    "Dirichlet",
    "Discretization",
    "DivergenceError",
    "Equation",
    "Field",
    "Grid",
    "Halo",
    "Kernel",
    "KernelBuildError",
    "KuramotoSivashinsky",
    "Memory",
    "MemoryInUseError",
    "Moment",
    "NavierStokes",
    "Neumann",
    "ParameterError",
    "Periodic",
    "Ranks",
    "Recorder",
    "ShapeError",
    "Share",
    "Simulation",
    "Slip",
    "SolverError",
    "Stream",
    "Tag",
    "Trial",
    "Wall",
    "build_information",
    "cache_directory",
    "face_coordinates",
    "gpu_awareness",
    "gpu_count",
    "gpu_identity",
    "modes_present",
    "name_of_run",
    "on_centres",
    "on_faces",
    "thread_count",
]

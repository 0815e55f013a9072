"""OCCA-driven PDE solvers: devices, memory, kernels, fields, simulations."""

from solver import _drivers as _drivers
from solver._occa import Kernel, Memory, Tag
from solver.boundaries import Boundary, Dirichlet, Neumann, Periodic, Wall
from solver.device import Device, Stream, build_information, gpu_count, modes_present
from solver.equations import AdvectionDiffusion, Burgers, Discretization, Equation
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
from solver.grid import Grid
from solver.jit import cache_directory
from solver.recorder import Moment, Recorder
from solver.simulation import Simulation

__all__ = [
    "AdvectionDiffusion",
    "ArgumentError",
    "Boundary",
    "Burgers",
    "Device",
    "DeviceError",
    "Dirichlet",
    "Discretization",
    "DivergenceError",
    "Equation",
    "Field",
    "Grid",
    "Kernel",
    "KernelBuildError",
    "Memory",
    "MemoryInUseError",
    "Moment",
    "Neumann",
    "ParameterError",
    "Periodic",
    "Recorder",
    "ShapeError",
    "Simulation",
    "SolverError",
    "Stream",
    "Tag",
    "Wall",
    "build_information",
    "cache_directory",
    "gpu_count",
    "modes_present",
]

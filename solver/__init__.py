"""OCCA-driven PDE solvers: devices, memory, kernels, fields, simulations."""

from solver import _drivers as _drivers
from solver._occa import Kernel, Memory, Tag
from solver.device import Device, Stream, modes_present
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

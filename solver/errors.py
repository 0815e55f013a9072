"""What can go wrong in the solver; a message says what was expected, what was got, the remedy."""

from typing import Any


class SolverError(Exception):
    """Any error of the solver."""


class DeviceError(SolverError):
    """A mode, device, allocation or copy that cannot be had."""


class KernelBuildError(SolverError):
    """A kernel that does not compile; the message ends with OCCA's and the compiler's own text."""


class ArgumentError(SolverError, TypeError):
    """A kernel launched with arguments that do not fit its signature."""


class ShapeError(SolverError, ValueError):
    """A shape, dtype or layout that does not fit."""


class MemoryInUseError(SolverError, BufferError):
    """Memory freed while views of it live, or used after it was freed."""


class ParameterError(SolverError, ValueError):
    """A physical or numerical parameter outside its range."""


class DivergenceError(SolverError, ArithmeticError):
    """The solution left the finite numbers.

    Attributes
    ----------
    step : int
        The first step whose result is not finite, counted from the start of the simulation.
    time : float
        The simulated time of that step.
    location : tuple of float
        Coordinates of the first such point.
    """

    def __init__(self, message: str, step: int, time: float, location: tuple[float, ...]):
        super().__init__(message)
        self.step = step
        self.time = time
        self.location = location

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.step, self.time, self.location), self.__dict__

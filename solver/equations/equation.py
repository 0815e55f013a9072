"""What an equation is: coefficients, sides and a right-hand side in OKL, which the explicit methods advance."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from solver.device import Device
from solver.errors import ParameterError
from solver.field import Field
from solver.grid import Grid
from solver.initial import evaluate
from solver.recorder import Recording
from solver.steppers import Method

if TYPE_CHECKING:
    from solver._occa import Memory

Parameter: TypeAlias = float | Sequence[float]
# Values of an auxiliary field: a number, a function of the coordinate arrays, or an array.
FieldValues: TypeAlias = float | Callable[..., Any] | np.ndarray


class Discretization(ABC):
    """An equation on one grid and device, ready to take steps.

    Attributes
    ----------
    fields : dict of str to Memory
        Auxiliary fields by name, shape ``([members,] components, *points)``, on the device: write them as you like between two
        advances, from a model for instance; steps that follow read them.
    is_watchful : bool
        Whether `march` can look at what it writes.
    effort : float
        About how many times as long as an explicit scheme a step takes, for those who choose how many to take at once.
    """

    fields: "Mapping[str, Memory]" = {}
    is_watchful: bool = False
    effort: float = 1.0

    @abstractmethod
    def march(
        self,
        u: Field,
        dt: float,
        steps: int,
        recording: Recording,
        time: float = 0.0,
        watch: Callable[[bool], bool] | None = None,
    ) -> int:
        """Take ``steps`` steps of ``dt`` from ``time`` on, in place, with the snapshots of ``recording`` on the way.

        Parameters
        ----------
        watch : callable, optional
            Of a watchful discretization: from whether this rank has made a value not finite to whether any rank has. The pass
            over memory after which one has is taken back, and those after it are left out.

        Returns
        -------
        int
            The steps taken.
        """

    def prepare(self, u: Field, dt: float, time: float) -> None:  # noqa: B027
        """Make ready for steps of ``dt`` from ``time`` on, so that they copy nothing from the host."""

    def admit(self, u: Field) -> None:  # noqa: B027
        """Turn initial values into a state of the equation, a velocity into one without divergence for instance."""

    def memories(self) -> "dict[str, Memory]":
        """Return the device memory beside `fields` that is remembered from step to step, by name, on this rank's points."""
        return {}

    def numbers(self) -> dict[str, Any]:
        """Return the numbers that are remembered from step to step, the same on every rank."""
        return {}

    def restore(self, numbers: Mapping[str, Any]) -> None:  # noqa: B027
        """Take over what `numbers` returned, `memories` and `fields` having been written; all ranks call it."""

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Leave what is remembered from step to step as it was: inside, march other states than the simulation's."""
        yield


class Equation(ABC):
    """A partial differential equation with its parameters.

    Attributes
    ----------
    members : int or None
        Members of the ensemble that its parameters describe, None where every parameter is one number.
    method : str
        Name of the time method it is advanced with where none is chosen, see `solver.steppers.METHODS`.
    """

    method: str = "ssp-rk3"
    members: int | None = None

    @abstractmethod
    def components(self, grid: Grid) -> int:
        """Return the number of components of the solution."""

    def evaluate(self, initial: Any, grid: Grid, members: int | None) -> np.ndarray:
        """Return initial values on the host where the solution lives; see `solver.initial.evaluate`."""
        return evaluate(initial, grid, self.components(grid), members)

    def share(self, begin: int, end: int) -> "Equation":
        """Return the equation of the members ``begin`` to ``end`` of an ensemble.

        A public attribute with one number for each member, alone or in a tuple, is a parameter.
        """
        if self.members is None:
            return self
        part = copy.copy(self)
        for name, value in vars(self).items():
            if not name.startswith("_"):
                setattr(part, name, _share(value, self.members, begin, end))
        part.members = end - begin
        return part

    @abstractmethod
    def stable_time_step(self, grid: Grid, speed: float, method: Method) -> float:
        """Return the largest stable Δt while |u| <= speed in every component."""

    @abstractmethod
    def discretize(
        self, device: Device, grid: Grid, method: Method, dtype: str, members: int | None = None
    ) -> Discretization:
        """Build the kernels for a grid.

        Raises
        ------
        ParameterError
            The equation does not exist on such a grid.
        """


def _share(value: Any, members: int, begin: int, end: int) -> Any:
    if isinstance(value, tuple):
        return tuple(_share(each, members, begin, end) for each in value)
    if isinstance(value, np.ndarray) and value.shape == (members,):
        return value[begin:end]
    return value


def ensemble(name: str, value: Parameter, least: float = -np.inf, positive: bool = False) -> Any:
    """Return a parameter as a float, or as an array of one float per member of an ensemble.

    Raises
    ------
    ParameterError
        Not a finite number or numbers, or below ``least``, or not positive where it must be.
    """
    try:
        numbers = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.asarray(np.nan)
    is_bool = isinstance(value, bool) or np.asarray(value).dtype == bool
    fits = bool(np.isfinite(numbers).all() and (numbers >= least).all())
    fits = fits and not (positive and (numbers <= 0).any())
    if is_bool or numbers.ndim > 1 or numbers.size == 0 or not fits:
        wanted = "a positive number" if positive else "a finite number"
        if np.isfinite(least):
            wanted = f"a number of {least:g} or more"
        raise ParameterError(
            f"equation {name} must be {wanted}, or one for each member of an ensemble, got {value!r}; give it in the grid's units"
        )
    return float(numbers) if numbers.ndim == 0 else numbers


def members_of(**parameters: Any) -> int | None:
    """Return the members that parameters with one number each describe, None where all are single numbers.

    Raises
    ------
    ParameterError
        Parameters for ensembles of different sizes.
    """
    sizes = {
        name: len(value) for name, value in parameters.items() if isinstance(value, np.ndarray)
    }
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise ParameterError(
            f"the parameters of an ensemble must have one number for each member, got {listed}; give them one length"
        )
    return next(iter(sizes.values()), None)

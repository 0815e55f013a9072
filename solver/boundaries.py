"""What holds on the sides of a grid."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from solver.errors import ParameterError

# A number, one per component, or a function of the side's coordinates and the time that gives either as arrays.
Value: TypeAlias = float | Sequence[float] | Callable[..., Any]


class Boundary:
    """One side of one axis."""


@dataclass(frozen=True)
class Periodic(Boundary):
    """The axis closes on itself; both of its sides say so."""


@dataclass(frozen=True)
class Dirichlet(Boundary):
    """The solution has a value on the side, which is a face: half a spacing from the first point.

    Parameters
    ----------
    value
        A number for all components, one number per component, or a function ``value(*coordinates, time)`` of the points of
        the side (one array per axis, shape of the side) that returns an array of that shape or ``(components, *shape)``.
        Functions are for Python; a case file gives numbers.

    Raises
    ------
    ParameterError
        A number that is not finite.
    """

    value: Value = 0.0

    def __post_init__(self) -> None:
        _require_finite("Dirichlet value", self.value)


@dataclass(frozen=True)
class Neumann(Boundary):
    """The solution has a derivative along the outward normal.

    Parameters
    ----------
    slope
        As the value of `Dirichlet`; 0 where nothing passes by diffusion.

    Raises
    ------
    ParameterError
        A number that is not finite.
    """

    slope: Value = 0.0

    def __post_init__(self) -> None:
        _require_finite("Neumann slope", self.slope)


@dataclass(frozen=True)
class Wall(Boundary):
    """A solid wall for a velocity: no slip, no flow through.

    Parameters
    ----------
    velocity
        Velocity of the wall, one number per axis; nothing moves where it is left out. Its part normal to the wall must be 0.

    Raises
    ------
    ParameterError
        A number that is not finite.
    """

    velocity: Sequence[float] | None = None

    def __post_init__(self) -> None:
        if self.velocity is not None:
            _require_finite("Wall velocity", self.velocity)


@dataclass(frozen=True)
class Slip(Boundary):
    """A plane of symmetry for a velocity: nothing flows through, nothing drags."""


Sides: TypeAlias = tuple[Boundary, Boundary]


def checked(boundaries: Sequence[Sequence[Boundary]] | None, axes: int) -> tuple[Sides, ...]:
    """Return the (low, high) pair of each axis, all periodic where nothing is given.

    Raises
    ------
    ParameterError
        Not a pair per axis, only one side of an axis is periodic, or a wall moves through itself.
    """
    if boundaries is None:
        return ((Periodic(), Periodic()),) * axes
    pairs = tuple(tuple(pair) for pair in boundaries)
    if len(pairs) != axes or any(
        len(pair) != 2 or not all(isinstance(side, Boundary) for side in pair) for pair in pairs
    ):
        raise ParameterError(
            f"grid.boundaries must have one (low, high) pair of boundaries for each of {axes} axes, got {boundaries!r}; "
            "write ((Periodic(), Periodic()), ...)"
        )
    for axis, (low, high) in enumerate(pairs):
        if isinstance(low, Periodic) != isinstance(high, Periodic):
            raise ParameterError(
                f"both sides of an axis must be periodic or neither, got {low} and {high} on axis {axis}; they contradict "
                "each other, change one"
            )
        for side in (low, high):
            if isinstance(side, Wall) and side.velocity is not None:
                _require_wall(side.velocity, axis, axes)
    return tuple((low, high) for low, high in pairs)


def _require_wall(velocity: Sequence[float], axis: int, axes: int) -> None:
    if len(velocity) != axes or velocity[axis] != 0:
        raise ParameterError(
            f"a wall on axis {axis} must have a velocity of {axes} numbers with 0 along its normal, got {tuple(velocity)}; "
            "a wall moves in its own plane"
        )


def _require_finite(name: str, value: Value) -> None:
    if callable(value):
        return
    try:
        numbers = [float(each) for each in np.atleast_1d(np.asarray(value, dtype=np.float64))]
    except (TypeError, ValueError):
        numbers = [math.nan]
    if not numbers or not all(math.isfinite(number) for number in numbers):
        raise ParameterError(
            f"{name} must be a finite number, numbers or a function, got {value!r}; correct it"
        )

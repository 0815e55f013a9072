"""Initial conditions by name, functions of the coordinates."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from solver.errors import ParameterError, ShapeError
from solver.grid import Grid


def sine(components: int, axes: Sequence[np.ndarray], *coordinates: np.ndarray) -> np.ndarray:
    """Return the product of sin over the axes; of a vector, component a has sin along axis a and cos along the others."""
    if components == 1:
        return math.prod(np.sin(x) for x in coordinates)
    return np.stack(
        [
            math.prod(np.sin(x) if axis == a else np.cos(x) for axis, x in enumerate(coordinates))
            for a in range(components)
        ]
    )


def gaussian(components: int, axes: Sequence[np.ndarray], *coordinates: np.ndarray) -> np.ndarray:
    """Return a bump of height 1 in the middle of the axes, standard deviation a twentieth of them; alike in every component."""
    exponent = sum(
        ((x - axis.mean()) / (0.05 * (axis.max() - axis.min()))) ** 2 / 2
        for axis, x in zip(axes, coordinates, strict=True)
    )
    return np.stack([np.exp(-exponent)] * components)


INITIAL: dict[str, Callable[..., np.ndarray]] = {"sin": sine, "gaussian": gaussian}


def named(name: str, grid: Grid, components: int) -> Callable[..., np.ndarray]:
    """Return the initial condition of that name as a function of the coordinates, which gives ``(components, *points)``.

    Raises
    ------
    ParameterError
        There is none.
    """
    if name not in INITIAL:
        raise ParameterError(
            f"initial must be one of {', '.join(sorted(INITIAL))}, a function or an array, got {name!r}; correct the name"
        )
    return functools.partial(INITIAL[name], components, grid.whole.axes())


def evaluate(initial: Any, grid: Grid, components: int, members: int | None = None) -> np.ndarray:
    """Return the initial values on the host, float64, shape ``([members,] components, *points)``.

    Parameters
    ----------
    grid : Grid
        Or the block of it that is wanted.
    initial : str, callable or array
        A name of `INITIAL`, a function of the coordinate arrays, point by point, or the values on the whole grid; what lacks the
        leading axes of an ensemble, or of the one component, is the same for all members.

    Raises
    ------
    ParameterError
        An unknown name or values that are not finite.
    ShapeError
        Values of another shape.
    """
    function = named(initial, grid, components) if isinstance(initial, str) else initial
    values = np.asarray(
        function(*grid.coordinates()) if callable(function) else function, dtype=np.float64
    )
    if values.shape[-len(grid.points) :] == grid.whole.points:
        values = grid.part(values)
    shape = (components, *grid.points)
    if values.shape == grid.points and components == 1:
        values = values[None]
    if members is not None:
        if values.shape == (members, *grid.points) and components == 1:
            values = values[:, None]
        shape = (members, *shape)
        if values.shape == shape[1:]:
            values = np.broadcast_to(values, shape)
    if values.shape != shape:
        raise ShapeError(
            f"initial values must have shape {shape}, got {values.shape}; evaluate them on grid.coordinates()"
        )
    if not np.isfinite(values).all():
        raise ParameterError(
            f"initial values must be finite, {np.count_nonzero(~np.isfinite(values))} are not; correct them"
        )
    return values

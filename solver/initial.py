"""Initial conditions by name, functions of the coordinates."""

from collections.abc import Callable
from typing import Any

import numpy as np

from solver.errors import ParameterError, ShapeError
from solver.grid import Grid

INITIAL: dict[str, Callable[..., np.ndarray]] = {
    "sin": lambda x: np.sin(x),
    "gaussian": lambda x: np.exp(-((x - x.mean()) ** 2) / (2 * (0.05 * (x.max() - x.min())) ** 2)),
}


def evaluate(initial: Any, grid: Grid, components: int) -> np.ndarray:
    """Return the initial values on the host, float64, shape ``(components, *points)``.

    Parameters
    ----------
    initial : str, callable or array
        A name of `INITIAL`, a function of the coordinate arrays, or the values.

    Raises
    ------
    ParameterError
        An unknown name or values that are not finite.
    ShapeError
        Values of another shape.
    """
    if isinstance(initial, str):
        if initial not in INITIAL:
            raise ParameterError(
                f"initial must be one of {', '.join(sorted(INITIAL))}, a function or an array, got {initial!r}; correct the name"
            )
        initial = INITIAL[initial]
    values = np.asarray(
        initial(*grid.coordinates()) if callable(initial) else initial, dtype=np.float64
    )
    shape = (components, *grid.points)
    if values.shape == grid.points and components == 1:
        values = values[None]
    if values.shape != shape:
        raise ShapeError(
            f"initial values must have shape {shape}, got {values.shape}; evaluate them on grid.coordinates()"
        )
    if not np.isfinite(values).all():
        raise ParameterError(
            f"initial values must be finite, {np.count_nonzero(~np.isfinite(values))} are not; correct them"
        )
    return values

"""Where the components of a staggered velocity live: component a on the low face of each cell along axis a."""

from collections.abc import Callable
from typing import Any

import numpy as np

from solver.errors import ShapeError
from solver.grid import Grid


def face_coordinates(grid: Grid) -> tuple[tuple[np.ndarray, ...], ...]:
    """Return for each component the coordinates of its faces, one host array of shape ``points`` per axis.

    Those of component a are half a spacing below the grid's points along axis a.
    """
    centres = grid.axes()
    return tuple(
        tuple(
            np.meshgrid(
                *(
                    x - (dx / 2 if a == axis else 0)
                    for a, (x, dx) in enumerate(zip(centres, grid.spacing, strict=True))
                ),
                indexing="ij",
            )
        )
        for axis in range(len(centres))
    )


def on_faces(grid: Grid, function: Callable[..., Any]) -> np.ndarray:
    """Evaluate a vector function of the coordinates, each component on its own faces and 0 on walls.

    Parameters
    ----------
    grid : Grid
        Or the block of it that is wanted.
    function : callable
        Takes one coordinate array per axis and returns one array or number per axis.

    Returns
    -------
    numpy.ndarray
        Shape ``(axes, *points)``.

    Raises
    ------
    ShapeError
        The function returns another number of components.
    """
    values = np.empty((len(grid.points), *grid.points))
    for axis, coordinates in enumerate(face_coordinates(grid)):
        result = function(*coordinates)
        if len(result) != len(grid.points):
            raise ShapeError(
                f"a velocity or forcing must have one component per axis, {len(grid.points)}, got {len(result)}; return as many"
            )
        values[axis] = result[axis]
        if not grid.is_periodic[axis] and grid.begin[axis] == 0:
            np.moveaxis(values[axis], axis, 0)[0] = 0
    return values


def on_centres(u: np.ndarray) -> np.ndarray:
    """Return the velocity at the grid's points, the mean of the two faces around each.

    Parameters
    ----------
    u : numpy.ndarray
        Shape ``(axes, *points)``. Where the axis has sides its face 0 is 0, and so is the one beyond the last.
    """
    return np.stack([(q + np.roll(q, -1, axis)) / 2 for axis, q in enumerate(u)])

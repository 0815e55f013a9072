"""From one grid to another: what a fine grid's values are at a coarse grid's points, and sides that follow a solution."""

from collections.abc import Callable
from typing import Any

import numpy as np

from insitu.exact import Function
from solver import Boundary, Dirichlet, Equation, Grid, Neumann

__all__ = ["restrict", "sides_of"]

_NODES = 6  # of the interpolation, which is exact where points coincide
_DIFFERENCE = 1e-3  # step of the sixth-order derivative, of the axis's length


def restrict(equation: Equation, values: np.ndarray, fine: Grid, coarse: Grid) -> np.ndarray:
    """Return values (components, *points) of a fine grid at the points of a coarse one, by interpolation of order six."""
    parts = []
    for component, part in enumerate(values):
        for axis in range(len(fine.points)):
            weights = _weights(
                _axis(equation, fine, component, axis),
                _axis(equation, coarse, component, axis),
                _period(fine, axis),
            )
            part = np.moveaxis(np.tensordot(weights, part, (1, axis)), 0, axis)
        parts.append(part)
    return np.stack(parts)


def sides_of(grid: Grid, u: Function) -> tuple[tuple[Boundary, Boundary], ...]:
    """Return a grid's sides with the values of u: Dirichlet its value, Neumann its derivative along the outward normal."""
    made = []
    for axis, pair in enumerate(grid.sides):
        made.append(tuple(_side(grid, u, axis, number, side) for number, side in enumerate(pair)))
    return tuple((low, high) for low, high in made)


def _side(grid: Grid, u: Function, axis: int, number: int, side: Boundary) -> Boundary:
    if isinstance(side, Dirichlet):
        return Dirichlet(u)
    if isinstance(side, Neumann):
        start, end = grid.extent[axis]
        return Neumann(_slope(u, axis, _DIFFERENCE * (end - start), 1 if number else -1))
    return side


def _slope(u: Function, axis: int, step: float, sign: int) -> Callable[..., np.ndarray]:
    """Return the derivative of u along an axis, times a sign, by differences of order six."""

    def slope(*x_and_time: Any) -> np.ndarray:
        *x, time = x_and_time
        total: Any = 0.0
        for n, weight in ((1, 45 / 60), (2, -9 / 60), (3, 1 / 60)):
            for side in (1, -1):
                moved = [each + (side * n * step if a == axis else 0) for a, each in enumerate(x)]
                total = total + side * weight * u(*moved, time)
        return np.asarray(sign * total / step)

    return slope


def _axis(equation: Equation, grid: Grid, component: int, axis: int) -> np.ndarray:
    """Return where a component lives along an axis: what the equation makes of the coordinate itself, but on low walls."""
    count = equation.components(grid)
    places = equation.evaluate(lambda *x: np.stack([x[axis]] * count), grid, None)[component]
    line = np.moveaxis(places, axis, 0).reshape(grid.points[axis], -1)[:, -1]
    return np.concatenate([[2 * line[1] - line[2]], line[1:]])


def _period(grid: Grid, axis: int) -> float | None:
    start, end = grid.extent[axis]
    return end - start if grid.is_periodic[axis] else None


def _weights(nodes: np.ndarray, targets: np.ndarray, period: float | None) -> np.ndarray:
    """Return the matrix (targets, nodes) of Lagrange's interpolation from the nearest nodes."""
    count, width = len(nodes), min(_NODES, len(nodes))
    spacing = nodes[1] - nodes[0]
    matrix = np.zeros((len(targets), count))
    for row, target in enumerate(targets):
        first = int(np.floor((target - nodes[0]) / spacing + 1e-9)) - width // 2 + 1
        if period is None:
            first = min(max(first, 0), count - width)
        places = np.arange(first, first + width)
        x = nodes[0] + places * spacing
        for n, place in enumerate(places):
            others = np.delete(x, n)
            matrix[row, place % count] += np.prod((target - others) / (x[n] - others))
    return matrix

"""The sides of a grid as the explicit kernels see them: how a ghost follows from its mirror image."""

import math
from typing import Any

import numpy as np

from solver.boundaries import Boundary, Dirichlet, Neumann, Periodic, Wall
from solver.device import Device
from solver.errors import ParameterError, ShapeError
from solver.grid import Block, Grid
from solver.precision import real_literal

__all__ = ["Sides", "require_sides"]


class Sides:
    """The ghosts of an explicit equation's sides: ghost = scale * mirror image + shift.

    A Dirichlet side has scale −1 and shift 2 value, a Neumann side scale 1 and shift Δx slope, since its face lies half a spacing
    beyond the last point.

    Attributes
    ----------
    memory : Memory
        The shifts, axis by axis: (2, components, *points of the side), on the device; of this rank's block and of the points
        within ``reach`` around it.
    depend_on_time : bool
        Whether a value is a function, which is then evaluated in the middle of each step.
    """

    def __init__(self, device: Device, grid: Grid, components: int, dtype: str, reach: int = 0):
        self._grid, self._components, self._dtype = grid, components, dtype
        self._axes = grid.axes_around(reach)
        self._points = tuple(map(len, self._axes))
        letters = "KJI"[3 - len(grid.points) :] if len(grid.points) != 2 else "KI"
        self.defines: dict[str, Any] = {}
        offset = 0
        for axis, (letter, sides) in enumerate(zip(letters, grid.sides, strict=True)):
            if grid.is_periodic[axis]:
                continue
            self.defines[f"SIDES_{letter}"] = offset
            for number, side in enumerate(sides):
                scale = 1 if isinstance(side, Neumann) else -1
                self.defines[f"SCALE_{letter}{number}"] = real_literal(scale, dtype)
            offset += 2 * components * (math.prod(self._points) // self._points[axis])
        self.defines["SIDES"] = offset
        self.memory = device.allocate((offset,), dtype)
        self.depend_on_time = any(callable(_value_of(side)) for pair in grid.sides for side in pair)
        self._write(0.0)

    def update(self, time: float) -> None:
        """Evaluate the sides that depend on time; a copy from the host."""
        if self.depend_on_time:
            self._write(time)

    def _write(self, time: float) -> None:
        shifts = [
            self._shift(axis, number, side, time).ravel()
            for axis, pair in enumerate(self._grid.sides)
            for number, side in enumerate(pair)
            if not self._grid.is_periodic[axis]
        ]
        if shifts:
            self.memory.copy_from(np.ascontiguousarray(np.concatenate(shifts), dtype=self._dtype))

    def _shift(self, axis: int, number: int, side: Boundary, time: float) -> np.ndarray:
        """Return the shift on one side, shape (components, *points of the side)."""
        grid = self._grid
        shape = tuple(n for other, n in enumerate(self._points) if other != axis)
        value = _value_of(side)
        if callable(value):
            axes = list(self._axes)
            axes[axis] = np.array([grid.extent[axis][number]])
            coordinates = [np.squeeze(each, axis) for each in np.meshgrid(*axes, indexing="ij")]
            value = np.asarray(value(*coordinates, time), dtype=np.float64)
        else:
            value = np.asarray(value, dtype=np.float64)
            if value.ndim == 1 and len(value) in (1, self._components):
                value = value.reshape(-1, *(1,) * len(shape))
        try:
            values = np.broadcast_to(value, (self._components, *shape))
        except ValueError:
            raise ShapeError(
                f"the side {number} of axis {axis} must have one value, {self._components} (one per component) or an array of "
                f"shape {(self._components, *shape)}, got shape {value.shape}; correct {side!r}"
            ) from None
        if not np.isfinite(values).all():
            raise ParameterError(
                f"the values on side {number} of axis {axis} must be finite at time {time:g}, they are not; correct {side!r}"
            )
        return values * (grid.spacing[axis] if isinstance(side, Neumann) else 2.0)


def _value_of(side: Boundary) -> Any:
    if isinstance(side, Dirichlet):
        return side.value
    if isinstance(side, Neumann):
        return side.slope
    if isinstance(side, Wall):
        return 0.0 if side.velocity is None else side.velocity
    return 0.0


def _smallest(grid: Grid) -> tuple[int, ...]:
    return grid.decomposition.smallest if isinstance(grid, Block) else grid.points


def require_sides(grid: Grid, ghost: int) -> None:
    """Refuse a grid or blocks too small for a stencil, and sides for one that is wider than its nearest neighbours.

    Raises
    ------
    ParameterError
        Either of them.
    """
    least = 2 * ghost + 1
    if min(grid.whole.points) < least:
        raise ParameterError(
            f"grid.points must be at least {least} along each axis for this stencil, got {grid.whole.points}; refine"
        )
    cut = [n for n, is_cut in zip(_smallest(grid), grid.is_cut, strict=True) if is_cut]
    if cut and min(cut) < ghost:
        raise ParameterError(
            f"every rank must have at least {ghost} points along each cut axis for this stencil, got {min(cut)} of grid.points "
            f"{grid.whole.points}; use fewer ranks or refine"
        )
    for axis, pair in enumerate(grid.sides):
        for side in pair:
            if not isinstance(side, Periodic | Dirichlet | Neumann | Wall):
                raise ParameterError(
                    f"a side of this equation must be Periodic, Dirichlet, Neumann or Wall, got {side} on axis {axis}; choose one"
                )
    if ghost > 1 and not all(grid.is_periodic):
        raise ParameterError(
            f"this scheme reaches {ghost} points and needs periodic axes, got sides {grid.sides}; make them periodic or choose "
            "a scheme of nearest neighbours"
        )

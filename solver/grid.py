"""A uniform, periodic grid."""

import math
from dataclasses import dataclass

import numpy as np

from solver.errors import ParameterError


@dataclass(frozen=True)
class Grid:
    """Points at ``start + i * spacing``, i = 0 ... points - 1; the end of an extent is the start's periodic image.

    Attributes
    ----------
    points : tuple of int
        Points along each axis.
    extent : tuple of (float, float)
        Start and end of each axis, in the units of the equation.

    Raises
    ------
    ParameterError
        No points, an empty extent, or lengths that differ.
    """

    points: tuple[int, ...]
    extent: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        if not isinstance(self.points, tuple | list) or not isinstance(self.extent, tuple | list):
            raise ParameterError(
                f"grid.points and grid.extent must be tuples, one entry per axis, got {self.points!r} and {self.extent!r}; "
                "write (512,) and ((0.0, 1.0),)"
            )
        if not self.points or len(self.points) != len(self.extent):
            raise ParameterError(
                f"grid.points and grid.extent must have one entry per axis, got {self.points} and {self.extent}; match them"
            )
        for points in self.points:
            if isinstance(points, bool) or not isinstance(points, int | np.integer) or points < 1:
                raise ParameterError(
                    f"grid.points must be integers of 1 or more, got {self.points}; give each axis its points"
                )
        for start, end in self.extent:
            if not (math.isfinite(start) and math.isfinite(end) and end > start):
                raise ParameterError(
                    f"grid.extent must be finite and end after it starts, got {self.extent}; order each pair"
                )

        object.__setattr__(self, "points", tuple(int(points) for points in self.points))

    @property
    def spacing(self) -> tuple[float, ...]:
        """Distance between neighbouring points along each axis."""
        return tuple(
            (end - start) / n for n, (start, end) in zip(self.points, self.extent, strict=True)
        )

    @property
    def size(self) -> int:
        """Number of points."""
        return math.prod(self.points)

    def coordinates(self) -> tuple[np.ndarray, ...]:
        """Return the coordinates of all points, one host array of shape ``points`` per axis, float64."""
        axes = (
            start + dx * np.arange(n)
            for n, dx, (start, _) in zip(self.points, self.spacing, self.extent, strict=True)
        )
        return tuple(np.meshgrid(*axes, indexing="ij"))

"""The grids of the multigrid hierarchy."""

import math
from dataclasses import dataclass

from solver.errors import ParameterError
from solver.grid import Grid

__all__ = ["Level", "hierarchy"]

COARSEST = 16  # points along an axis, from which on the coarsest level is solved directly
COARSEST_LIMIT = 128  # what the direct solver takes, where no axis can get coarser
STRONG = 1.5  # axes with a spacing below this times the smallest one get coarser


@dataclass(frozen=True)
class Level:
    """A grid of the hierarchy, in three dimensions; the first has one point where the grid has two.

    Attributes
    ----------
    points : tuple of int
        Cells along each axis.
    spacing : tuple of float
        Distance of their centres.
    wraps : tuple of int
        1 where the axis is periodic.
    axes : int
        2 or 3.
    """

    points: tuple[int, ...]
    spacing: tuple[float, ...]
    wraps: tuple[int, ...]
    axes: int

    @classmethod
    def finest(cls, grid: Grid) -> "Level":
        """Return the level of a grid of two or three axes."""
        axes = len(grid.points)
        wraps = tuple(int(is_periodic) for is_periodic in grid.is_periodic)
        return cls(
            (1,) * (3 - axes) + grid.points,
            (math.inf,) * (3 - axes) + grid.spacing,
            (0,) * (3 - axes) + wraps,
            axes,
        )

    @property
    def size(self) -> int:
        """Number of cells."""
        return math.prod(self.points)

    @property
    def unit(self) -> float:
        """The smallest spacing h; A is −h²∇²."""
        return min(self.spacing)

    @property
    def weights(self) -> tuple[float, ...]:
        """(h/Δa)² for each axis a; 0 where there is one point."""
        return tuple((self.unit / spacing) ** 2 for spacing in self.spacing)

    @property
    def factors(self) -> tuple[int, ...]:
        """2 on the axes that get coarser: those of an even number of points that are coupled most strongly, else 1."""
        return tuple(
            2 if n % 2 == 0 and n > 2 and spacing < STRONG * self.unit else 1
            for n, spacing in zip(self.points, self.spacing, strict=True)
        )

    @property
    def is_coarsest(self) -> bool:
        """Whether it is solved directly."""
        return max(self.points) <= COARSEST or max(self.factors) == 1

    def coarser(self) -> "Level":
        """Return the next level."""
        return Level(
            tuple(n // factor for n, factor in zip(self.points, self.factors, strict=True)),
            tuple(dx * factor for dx, factor in zip(self.spacing, self.factors, strict=True)),
            self.wraps,
            self.axes,
        )

    @property
    def smoothing(self) -> tuple[float, float]:
        """The two coefficients of x + first d + second A d, best for what the next level cannot represent.

        Chebyshev's polynomial of degree two over the part [low, 2] of the spectrum of A divided by its diagonal, low the
        eigenvalue of a mode of four cells along the axis with the smallest weight that gets coarser.
        Source: Adams, Brezina, Hu & Tuminaro 2003, doi:10.1016/S0021-9991(03)00194-3.
        """
        diagonal = 2 * sum(self.weights)
        low = min(
            2 * weight / diagonal
            for weight, factor in zip(self.weights, self.factors, strict=True)
            if factor == 2
        )
        centre, half = (2 + low) / 2, (2 - low) / 2
        ratio = half / centre
        next_ratio = 1 / (2 / ratio - ratio)
        curved = 2 * next_ratio / half
        return (
            ((1 + next_ratio * ratio) / centre + curved) / diagonal,
            -curved / (centre * diagonal**2),
        )


def hierarchy(grid: Grid) -> list[Level]:
    """Return the levels of a grid, the finest first.

    Raises
    ------
    ParameterError
        The coarsest would be too large to be solved directly.
    """
    levels = [Level.finest(grid)]
    while not levels[-1].is_coarsest:
        levels.append(levels[-1].coarser())
    coarsest = levels[-1].points[-levels[-1].axes :]
    if max(coarsest) > COARSEST_LIMIT:
        raise ParameterError(
            f"grid.points must halve down to at most {COARSEST_LIMIT} points an axis for the pressure, got {grid.points} with "
            f"spacings {grid.spacing}, which end at {coarsest}; choose points with more factors of 2"
        )
    return levels

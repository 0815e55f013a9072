"""A uniform grid and what holds on its sides, and the block of it that a rank owns."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from solver.boundaries import Boundary, Periodic, checked
from solver.decomposition import Decomposition
from solver.errors import ParameterError


@dataclass(frozen=True)
class Grid:
    """Points of a box, i = 0 ... points - 1 along each axis.

    On a periodic axis they stand at ``start + i * spacing``, and the end of the extent is the start's image. On an axis with
    sides they are cell centres, at ``start + (i + 1/2) * spacing``, and the sides are faces.

    Attributes
    ----------
    points : tuple of int
        Points along each axis.
    extent : tuple of (float, float)
        Start and end of each axis, in the units of the equation.
    boundaries : tuple of (Boundary, Boundary), optional
        The low and high side of each axis; all periodic where it is left out.

    Raises
    ------
    ParameterError
        No points, an empty extent, lengths that differ, or boundaries that contradict each other.
    """

    points: tuple[int, ...]
    extent: tuple[tuple[float, float], ...]
    boundaries: tuple[tuple[Boundary, Boundary], ...] | None = None

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
        object.__setattr__(self, "boundaries", checked(self.boundaries, len(self.points)))

    @property
    def whole(self) -> "Grid":
        """The grid that this is a block of: itself where it is none."""
        return self

    @property
    def begin(self) -> tuple[int, ...]:
        """Where the first point stands in the whole grid, 0 along each axis where this is the whole."""
        return (0,) * len(self.points)

    @property
    def is_cut(self) -> tuple[bool, ...]:
        """Whether an axis goes on in blocks of other ranks."""
        return (False,) * len(self.points)

    def margins(self, reach: int) -> tuple[tuple[int, int], ...]:
        """Return the points, low and high along each axis, of other ranks' blocks within ``reach``; see `Block.margins`."""
        return ((0, 0),) * len(self.points)

    def part(self, values: np.ndarray) -> np.ndarray:
        """Return a view of what this block owns of values on the whole grid, ``(..., *points)``; its own values as they are."""
        if values.shape[-len(self.points) :] == self.points:
            return values
        ranges = zip(self.begin, self.points, strict=True)
        own: tuple[Any, ...] = (..., *(slice(begin, begin + n) for begin, n in ranges))
        return values[own]

    def axes_around(self, reach: int) -> tuple[np.ndarray, ...]:
        """Return `axes` with the margins of ``reach``: the coordinates at which their owners have these points."""
        return tuple(
            axis[np.arange(begin - low, begin + n + high) % len(axis)]
            for axis, begin, n, (low, high) in zip(
                self.whole.axes(), self.begin, self.points, self.margins(reach), strict=True
            )
        )

    @property
    def spacing(self) -> tuple[float, ...]:
        """Distance between neighbouring points along each axis."""
        return tuple(
            (end - start) / n for n, (start, end) in zip(self.points, self.extent, strict=True)
        )

    @property
    def sides(self) -> tuple[tuple[Boundary, Boundary], ...]:
        """The low and high side of each axis."""
        return checked(self.boundaries, len(self.points))

    @property
    def is_periodic(self) -> tuple[bool, ...]:
        """Whether each axis closes on itself."""
        return tuple(isinstance(low, Periodic) for low, _ in self.sides)

    @property
    def size(self) -> int:
        """Number of points."""
        return math.prod(self.points)

    def axes(self) -> tuple[np.ndarray, ...]:
        """Return the points' coordinate along each axis, one host array of shape ``(points,)`` each, float64."""
        return tuple(
            start + dx * (np.arange(n) + (0.0 if is_periodic else 0.5))
            for n, dx, (start, _), is_periodic in zip(
                self.points, self.spacing, self.extent, self.is_periodic, strict=True
            )
        )

    def coordinates(self) -> tuple[np.ndarray, ...]:
        """Return the coordinates of all points, one host array of shape ``points`` per axis, float64."""
        return tuple(np.meshgrid(*self.axes(), indexing="ij"))


class Block(Grid):
    """The points of a grid that one rank owns.

    ``points``, ``size``, ``axes()`` and ``coordinates()`` are the block's own; ``extent``, ``spacing`` and the sides are those of
    the whole grid, whose sides may be out of this block's sight.

    Parameters
    ----------
    whole : Grid
    decomposition : Decomposition
        Of the whole grid, as this rank sees it.
    comm : mpi4py.MPI.Comm
        The ranks that share the grid, numbered as the decomposition numbers them.
    overlaps : bool
        Whether to advance what needs no other rank's points while messages are on their way.
    """

    def __init__(
        self, whole: Grid, decomposition: Decomposition, comm: Any, overlaps: bool = False
    ):
        for name, value in (
            ("points", decomposition.shape),
            ("extent", whole.extent),
            ("boundaries", whole.boundaries),
            ("_whole", whole),
            ("decomposition", decomposition),
            ("comm", comm),
            ("overlaps", overlaps),
        ):
            object.__setattr__(self, name, value)

    decomposition: Decomposition
    comm: Any
    overlaps: bool
    _whole: Grid

    @property
    def whole(self) -> Grid:
        """The grid that this is a block of."""
        return self._whole

    @property
    def begin(self) -> tuple[int, ...]:
        """Where the first point stands in the whole grid."""
        return self.decomposition.begin

    @property
    def is_cut(self) -> tuple[bool, ...]:
        """Whether an axis goes on in blocks of other ranks."""
        return self.decomposition.is_cut

    def margins(self, reach: int) -> tuple[tuple[int, int], ...]:
        """Return the points, low and high along each axis, of other ranks' blocks within ``reach``.

        None along axes that are not cut, and none beyond the grid's sides.
        """
        return self.decomposition.margins(reach)

    @property
    def spacing(self) -> tuple[float, ...]:
        """Distance between neighbouring points along each axis."""
        return self.whole.spacing

    def axes(self) -> tuple[np.ndarray, ...]:
        """Return the own points' coordinate along each axis, one host array of shape ``(points,)`` each, float64."""
        return self.axes_around(0)

    def __repr__(self) -> str:
        return f"Block({self.points} from {self.begin} of {self.whole.points})"

"""Which points of the grid the ranks of an application have, however it cut it."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from insitu.case_errors import CaseError
from solver import Block, Decomposition, Grid

__all__ = ["Part", "declared", "placed", "require_cover"]


class Part(Grid):
    """The points of a grid that a rank of an application owns, in whatever way it cut the grid.

    Parameters
    ----------
    whole : Grid
    begin : sequence of int
        Where the first own point stands in the whole grid.
    points : sequence of int
        Own points along each axis.

    Raises
    ------
    CaseError
        The block lies outside the whole grid.
    """

    _whole: Grid
    _begin: tuple[int, ...]

    def __init__(self, whole: Grid, begin: Sequence[int], points: Sequence[int]):
        first, count = tuple(int(n) for n in begin), tuple(int(n) for n in points)
        axes = len(whole.points)
        is_inside = len(first) == len(count) == axes and all(
            b >= 0 and n >= 1 and b + n <= total
            for b, n, total in zip(first, count, whole.points, strict=True)
        )
        if not is_inside:
            raise CaseError(
                f"a block must lie inside the whole grid of {list(whole.points)} points, got {list(count)} points from "
                f"{list(first)} on; correct what the rank declares"
            )
        for name, value in (
            ("points", count),
            ("extent", whole.extent),
            ("boundaries", whole.boundaries),
            ("_whole", whole),
            ("_begin", first),
        ):
            object.__setattr__(self, name, value)

    @property
    def whole(self) -> Grid:
        """The grid that this is a block of."""
        return self._whole

    @property
    def begin(self) -> tuple[int, ...]:
        """Where the first own point stands in the whole grid."""
        return self._begin

    @property
    def is_cut(self) -> tuple[bool, ...]:
        """Whether an axis goes on in blocks of other ranks."""
        return tuple(n < total for n, total in zip(self.points, self._whole.points, strict=True))

    @property
    def spacing(self) -> tuple[float, ...]:
        """Distance between neighbouring points along each axis."""
        return self._whole.spacing

    def axes(self) -> tuple[np.ndarray, ...]:
        """Return the own points' coordinate along each axis, one host array of shape ``(points,)`` each, float64."""
        return tuple(
            axis[b : b + n]
            for axis, b, n in zip(self._whole.axes(), self._begin, self.points, strict=True)
        )


def placed(own: Part, comm: Any) -> Grid:
    """Return a rank's block as the solver's `Block` where the ranks cut the grid as it does, so field models know neighbours.

    All ranks call it. A rank that has all of the grid gets the grid.
    """
    whole = own.whole
    if comm is None or comm.size == 1:
        return whole if own.points == whole.points else own
    begins = comm.allgather(own.begin)
    along = tuple(len({begin[axis] for begin in begins}) for axis in range(len(whole.points)))
    is_regular = math.prod(along) == comm.size
    if is_regular:
        place = Decomposition(whole.points, along, whole.is_periodic, comm.rank)
        is_regular = (place.begin, place.shape) == (own.begin, own.points)
    return Block(whole, place, comm) if min(comm.allgather(is_regular)) else own


def declared(
    known: Grid | None,
    grid: Grid | None,
    begin: Sequence[int] | None,
    points: Sequence[int] | None,
) -> Part:
    """Return the block that an application declares of a grid, or of the one that its case has.

    Raises
    ------
    CaseError
        No grid is known, the two differ, or the block lies outside.
    """
    whole = grid or known
    if whole is None:
        raise CaseError("the whole grid must be known; declare it, or give the case a grid")
    if known is not None and not _is_alike(whole, known):
        raise CaseError(
            f"the application's grid must be the case's, got {list(whole.points)} points in {whole.extent}, the case has "
            f"{list(known.points)} in {known.extent}; match them"
        )
    first = tuple(begin or (0,) * len(whole.points))
    rest = tuple(n - b for n, b in zip(whole.points, first, strict=True))
    return Part(whole, first, points or rest)


def require_cover(whole: Grid, shares: list[dict[str, list[int]]]) -> None:
    """Raise CaseError where the blocks of all ranks do not cover a grid once."""
    begin = np.array([share["begin"] for share in shares])
    points = np.array([share["points"] for share in shares])
    end = begin + points
    for rank in range(len(shares)):
        meets = np.all((begin < end[rank]) & (begin[rank] < end), axis=1)
        meets[rank] = False
        if meets.any():
            raise CaseError(
                f"every point must belong to one rank, got blocks of ranks {rank} and {int(meets.argmax())} that overlap; "
                "correct what they declare"
            )
    covered = int(points.prod(axis=1).sum())
    if covered != whole.size:
        raise CaseError(
            f"the blocks of all ranks must cover the {whole.size} points of the grid, got {covered}; correct what they declare"
        )


def _is_alike(one: Grid, other: Grid) -> bool:
    spans = zip(one.extent, other.extent, strict=False)
    return one.points == other.points and all(
        math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)
        for pair in spans
        for a, b in zip(*pair, strict=True)
    )

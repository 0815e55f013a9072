"""Who owns which block of a grid. Integer arithmetic; nothing here communicates."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from solver.errors import ParameterError


class Stretch(NamedTuple):
    """Points of one axis that a rank needs: the owner's coordinate, where they begin in its block and in the needing one."""

    owner: int
    begin: int
    at: int
    length: int


class Piece(NamedTuple):
    """A box of points that one rank needs of another: where it begins in the owner's block and in the needing one."""

    owner: int
    begin: tuple[int, ...]
    at: tuple[int, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Decomposition:
    """Points of a grid, dealt out to ranks in boxes whose sides differ by one point at most.

    Rank r has the coordinates of the r-th entry of an array of shape ``ranks`` in row-major order.

    Attributes
    ----------
    points : tuple of int
        Points of the whole grid along each axis.
    ranks : tuple of int
        Ranks along each axis.
    is_periodic : tuple of bool
        Whether an axis closes on itself.
    rank : int
        This rank.

    Raises
    ------
    ParameterError
        An axis has more ranks than points, or the rank is none of them.
    """

    points: tuple[int, ...]
    ranks: tuple[int, ...]
    is_periodic: tuple[bool, ...]
    rank: int = 0

    def __post_init__(self) -> None:
        if len(self.ranks) != len(self.points) or min(self.ranks) < 1:
            raise ParameterError(
                f"ranks must be one number of 1 or more for each of {len(self.points)} axes, got {self.ranks}; correct them"
            )
        if any(r > n for r, n in zip(self.ranks, self.points, strict=True)):
            raise ParameterError(
                f"every rank must own points of each axis, got {self.ranks} ranks for grid.points {self.points}; use fewer ranks"
            )
        if not 0 <= self.rank < self.size:
            raise ParameterError(
                f"rank must be below the product of ranks {self.ranks}, {self.size}, got {self.rank}; correct it"
            )

    @property
    def size(self) -> int:
        """Number of ranks."""
        return math.prod(self.ranks)

    @property
    def is_cut(self) -> tuple[bool, ...]:
        """Whether more than one rank shares an axis."""
        return tuple(r > 1 for r in self.ranks)

    @property
    def coordinates(self) -> tuple[int, ...]:
        """Place of this rank along each axis."""
        return self._coordinates(self.rank)

    @property
    def begin(self) -> tuple[int, ...]:
        """First point of this rank along each axis."""
        return tuple(self.bounds(axis, c)[0] for axis, c in enumerate(self.coordinates))

    @property
    def shape(self) -> tuple[int, ...]:
        """Points of this rank's block along each axis."""
        return tuple(
            end - begin for begin, end in map(self.bounds, itertools.count(), self.coordinates)
        )

    @property
    def smallest(self) -> tuple[int, ...]:
        """Points that the smallest block has along each axis."""
        return tuple(n // r for n, r in zip(self.points, self.ranks, strict=True))

    def bounds(self, axis: int, coordinate: int) -> tuple[int, int]:
        """Return the first point of a place along an axis and the first one after it."""
        n, r = self.points[axis], self.ranks[axis]
        return n * coordinate // r, n * (coordinate + 1) // r

    def margins(self, reach: int) -> tuple[tuple[int, int], ...]:
        """Return how many points, low and high, a block of this rank with ``reach`` points around it has more along each axis.

        None along axes that are not cut, and none beyond the grid's sides.
        """
        result = []
        for axis, c in enumerate(self.coordinates):
            begin, end = self.bounds(axis, c)
            room = (begin, self.points[axis] - end)
            low, high = (reach if self.is_periodic[axis] else min(reach, each) for each in room)
            result.append((low, high) if self.is_cut[axis] else (0, 0))
        return tuple(result)

    def pieces(self, reach: int) -> list[Piece]:
        """Return what this rank's block needs of others, or of itself around a periodic axis, for ``reach`` points around it."""
        return list(self._pieces_of(self.rank, reach))

    def asked(self, reach: int) -> dict[int, list[Piece]]:
        """Return what each other rank needs of this one, in the order in which it needs it."""
        mine = self.coordinates
        near = [
            [
                c
                for c in range(self.ranks[axis])
                if any(stretch.owner == mine[axis] for stretch in self._stretches(axis, c, reach))
            ]
            for axis in range(len(self.points))
        ]
        found = {}
        for coordinates in itertools.product(*near):
            rank = self._rank(coordinates)
            pieces = [piece for piece in self._pieces_of(rank, reach) if piece.owner == self.rank]
            if pieces:
                found[rank] = pieces
        return dict(sorted(found.items()))

    def _pieces_of(self, rank: int, reach: int) -> Iterator[Piece]:
        coordinates = self._coordinates(rank)
        axes = [self._stretches(axis, c, reach) for axis, c in enumerate(coordinates)]
        for stretches in itertools.product(*axes):
            own = all(s.at == 0 for s in stretches)
            if not own:
                yield Piece(
                    self._rank(tuple(s.owner for s in stretches)),
                    tuple(s.begin for s in stretches),
                    tuple(s.at for s in stretches),
                    tuple(s.length for s in stretches),
                )

    def _stretches(self, axis: int, coordinate: int, reach: int) -> list[Stretch]:
        """Return who owns what along an axis of a block with ``reach`` points around it; the block itself stands at 0."""
        begin, end = self.bounds(axis, coordinate)
        inside = Stretch(coordinate, 0, 0, end - begin)
        if not self.is_cut[axis]:
            return [inside]
        n = self.points[axis]
        low, high = begin - reach, end + reach
        if not self.is_periodic[axis]:
            low, high = max(low, 0), min(high, n)
        return [
            *self._owners(axis, low, begin, begin),
            inside,
            *self._owners(axis, end, high, begin),
        ]

    def _owners(self, axis: int, low: int, high: int, origin: int) -> Iterator[Stretch]:
        n, r = self.points[axis], self.ranks[axis]
        while low < high:
            image = low % n
            owner = (image * r + r - 1) // n
            first, last = self.bounds(axis, owner)
            length = min(high - low, last - image)
            yield Stretch(owner, image - first, low - origin, length)
            low += length

    def _coordinates(self, rank: int) -> tuple[int, ...]:
        result = []
        for r in reversed(self.ranks):
            result.append(rank % r)
            rank //= r
        return tuple(reversed(result))

    def _rank(self, coordinates: Sequence[int]) -> int:
        rank = 0
        for r, c in zip(self.ranks, coordinates, strict=True):
            rank = rank * r + c
        return rank


def fewest_neighbours(points: Sequence[int], size: int, least: int = 1) -> tuple[int, ...]:
    """Return the ranks along each axis whose blocks have the smallest surface between them.

    Of equal ones the first axes are cut, whose neighbours lie in one piece in memory.

    Parameters
    ----------
    points : sequence of int
        Points of the whole grid.
    size : int
        Number of ranks.
    least : int
        Points that a block must have along a cut axis: the reach of the stencil.

    Raises
    ------
    ParameterError
        No such blocks exist.
    """
    candidates = [
        ranks
        for ranks in _factorizations(size, len(points))
        if all(r == 1 or n // r >= least for r, n in zip(ranks, points, strict=True))
    ]
    if not candidates:
        raise ParameterError(
            f"every block must have at least {least} points along each axis, got {size} ranks for grid.points {tuple(points)}; "
            "use fewer ranks or refine"
        )
    return min(candidates, key=lambda ranks: (_surface(points, ranks), [-r for r in ranks]))


def require_product(ranks: Sequence[int], points: Sequence[int], size: int) -> tuple[int, ...]:
    """Return ranks along each axis as they were given.

    Raises
    ------
    ParameterError
        Not one positive number per axis, or their product is not the number of ranks there are.
    """
    given = tuple(int(r) for r in ranks)
    if len(given) != len(points) or min(given) < 1 or math.prod(given) != size:
        raise ParameterError(
            f"the ranks along the {len(points)} axes must multiply to {size}, got {given}; correct them or leave them out"
        )
    return given


def _surface(points: Sequence[int], ranks: Sequence[int]) -> int:
    """Return the points of the largest block's faces that touch other ranks."""
    sides = [-(-n // r) for n, r in zip(points, ranks, strict=True)]
    return sum(2 * math.prod(sides) // side for side, r in zip(sides, ranks, strict=True) if r > 1)


def _factorizations(size: int, axes: int) -> Iterator[tuple[int, ...]]:
    if axes == 1:
        yield (size,)
        return
    for first in range(1, size + 1):
        if size % first == 0:
            for rest in _factorizations(size // first, axes - 1):
                yield (first, *rest)


__all__ = ["Decomposition", "Piece", "fewest_neighbours", "require_product"]

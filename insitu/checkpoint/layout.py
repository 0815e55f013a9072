"""Where a rank's part of an array lies in the whole, and what two parts have in common."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from insitu.distributed import Distributed, Rows
from solver import Simulation

__all__ = ["Layout", "Place", "common"]

Place = tuple[range, ...]  # along each axis, the numbers that a part has of the whole


@dataclass(frozen=True)
class Layout:
    """A rank's members and block, and the whole of both.

    Attributes
    ----------
    rank, ranks
        Which of how many.
    members : range or None
        Those of this rank; None of a single solution.
    total : int
        Members of all ranks.
    block
        Points of this rank along each axis.
    points
        Of the whole grid.
    components : int
        Of the state.
    """

    rank: int
    ranks: int
    members: range | None
    total: int
    block: Place
    points: tuple[int, ...]
    components: int

    @classmethod
    def of(cls, simulation: Simulation) -> "Layout":
        """Return the layout of this rank's share of a simulation."""
        share, grid = simulation.share, simulation.grid
        has_members = simulation.members is not None
        return cls(
            simulation.ranks.rank,
            simulation.ranks.size,
            range(share.begin, share.end) if has_members else None,
            share.members,
            tuple(range(b, b + n) for b, n in zip(grid.begin, grid.points, strict=True)),
            tuple(grid.whole.points),
            simulation.u.components,
        )

    @property
    def state(self) -> tuple[int, ...]:
        """The shape of the state of this rank, ([members,] components, *points)."""
        members = () if self.members is None else (len(self.members),)
        return (*members, self.components, *map(len, self.block))

    def unfolded(self, part: Distributed | Rows) -> Tensor:
        """Return the values with an axis for each of ([members,] components, *points) after the leading ones."""
        if isinstance(part, Rows) or not part.is_flat:
            return part.values
        return part.values.unflatten(-1, self.state)

    def whole(self, part: Distributed | Rows) -> tuple[int, ...]:
        """Return the shape of the whole array."""
        if isinstance(part, Rows):
            return (part.total, *part.values.shape[1:])
        shape = self.unfolded(part).shape
        members = () if self.members is None else (self.total,)
        lead = len(shape) - len(self.points) - 1 - len(members)
        return (*shape[:lead], *members, shape[-len(self.points) - 1], *self.points)

    def place(self, kind: str, shape: Sequence[int]) -> Place:
        """Return what this rank has of a whole array of a shape: "block" of the grid and members, or "rows"."""
        if kind == "rows":
            return (range(self.rank, shape[0], self.ranks), *map(range, shape[1:]))
        axes = len(self.points)
        own = () if self.members is None else (self.members,)
        lead = len(shape) - axes - 1 - len(own)
        return (*map(range, shape[:lead]), *own, range(shape[-axes - 1]), *self.block)


def common(one: Place, other: Place) -> tuple[tuple[Any, ...], tuple[Any, ...]] | None:
    """Return where the numbers that two places share are in each of them, as indices of an array; None where none is."""
    own: list[Any] = []
    others: list[Any] = []
    for mine, its in zip(one, other, strict=True):
        if mine.step == its.step == 1:
            begin, end = max(mine.start, its.start), min(mine.stop, its.stop)
            if begin >= end:
                return None
            own.append(slice(begin - mine.start, end - mine.start))
            others.append(slice(begin - its.start, end - its.start))
            continue
        _, here, there = np.intersect1d(
            np.arange(mine.start, mine.stop, mine.step),
            np.arange(its.start, its.stop, its.step),
            return_indices=True,
        )
        if not len(here):
            return None
        own.append(here)
        others.append(there)
    return tuple(own), tuple(others)

"""Tiles along the axes of a block, and which of them need no other rank's points."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Axis", "tiles_in_order"]


@dataclass(frozen=True)
class Axis:
    """How tiles lie along an axis: their cores, what they load, and the points of other ranks beyond the block."""

    points: int
    low: int
    high: int
    core: int
    margin: int
    width: int | None  # None: a tile loads its core and its margins, as far as there are points
    is_cut: bool

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return -(-self.points // self.core)

    def inner(self) -> np.ndarray:
        """Return whether each tile loads points of this block only."""
        first = self.core * np.arange(self.tiles)
        start = np.maximum(first - self.margin, -self.low)
        if self.width is None:
            last = np.minimum(first + self.core, self.points)
            stop = np.minimum(last + self.margin, self.points + self.high)
        else:
            start = np.minimum(start, self.points + self.high - self.width)
            stop = start + self.width
        return ((start >= 0) & (stop <= self.points)) | (not self.is_cut)


def tiles_in_order(axes: Sequence[Axis], members: int) -> tuple[np.ndarray, int]:
    """Return the numbers of all tiles of all members, the inner ones first, and how many these are."""
    inner = functools.reduce(np.logical_and.outer, [axis.inner() for axis in axes]).ravel()
    inner = np.tile(inner, members)
    order = np.concatenate([np.flatnonzero(inner), np.flatnonzero(~inner)]).astype(np.int32)
    return order, int(inner.sum())

"""A rank's block of a grid with cells of other ranks around it, in one box that kernels take for a grid of its own."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from solver._occa import Memory
from solver.device import Device
from solver.grid import Block, Grid
from solver.halo import Halo

__all__ = ["Margins", "Patch"]


class Patch:
    """The cells of a block and, along axes that ranks share, up to ``margin`` more on each side: its margins.

    Every application of a stencil makes one more layer of the margins wrong, from their outside; `Margins` renews them. Where no
    other rank shares the grid the patch is the grid. Tuples have three axes, the first with one cell where the grid has two.

    Parameters
    ----------
    grid : Grid
        Of two or three axes, or a rank's block of it.
    margin : int

    Attributes
    ----------
    shape : tuple of int
        Cells along the grid's own axes.
    points : tuple of int
        Cells along each axis.
    wraps : tuple of int
        1 where the patch closes on itself.
    begin, end : tuple of int
        The block's first cell in the patch, and the first one after it.
    origin : tuple of int
        Where the patch begins in the whole grid; below 0 around a periodic axis.
    """

    def __init__(self, grid: Grid, margin: int):
        margins = grid.margins(margin)
        lead = (0,) * (3 - len(grid.points))
        self.grid, self.margin = grid, margin
        self.is_cut = isinstance(grid, Block)
        self.shape = tuple(n + sum(pair) for n, pair in zip(grid.points, margins, strict=True))
        self.points = (*(1 for _ in lead), *self.shape)
        closes = zip(grid.is_periodic, grid.is_cut, strict=True)
        self.wraps = (*lead, *(int(is_periodic and not cut) for is_periodic, cut in closes))
        low = [pair[0] for pair in margins]
        self.begin = (*lead, *low)
        self.end = tuple(
            b + n for b, n in zip(self.begin, (*(1 for _ in lead), *grid.points), strict=True)
        )
        self.origin = (*lead, *(at - n for at, n in zip(grid.begin, low, strict=True)))

    @property
    def size(self) -> int:
        """Number of cells."""
        return math.prod(self.points)

    @property
    def box(self) -> tuple[int, ...]:
        """The kernels' first arguments."""
        return self.part(self.begin, self.end)

    def part(self, begin: Sequence[int], end: Sequence[int]) -> tuple[int, ...]:
        """Return the first arguments of a kernel that works on some of the cells; on all where no other rank shares the grid."""
        return (*self.points, *self.wraps, *((*begin, *end) if self.is_cut else ()))

    def inside(self, padded: Any) -> Any:
        """Return a view of the block's cells in an array or memory of shape ``shape``."""
        axes = len(self.shape)
        own = zip(self.begin[-axes:], self.end[-axes:], strict=True)
        return padded[tuple(slice(begin, end) for begin, end in own)]

    def around(self, values: np.ndarray) -> np.ndarray:
        """Return the patch's values, shape ``shape``, of those of the whole grid."""
        axes = len(self.shape)
        places = zip(self.origin[-axes:], self.shape, values.shape, strict=True)
        return values[np.ix_(*(np.arange(begin, begin + n) % of for begin, n, of in places))]


class Margins:
    """Brings the margins of a patch's arrays from the ranks that own their cells; where none shares the grid it does nothing.

    Parameters
    ----------
    device : Device
    patch : Patch
    copies : int
        Leading entries of the arrays, whose shape is ``(copies, *shape)`` or flat.
    dtype : str
    """

    def __init__(self, device: Device, patch: Patch, copies: int, dtype: str):
        grid = patch.grid
        self._halo = (
            Halo(device, grid, copies, dtype, patch.margin, is_padded=True)
            if isinstance(grid, Block)
            else None
        )

    def load(self, values: Memory) -> Memory:
        """Return the block's ``values`` with margins around them: in the one array that every call fills, or as they are."""
        return values if self._halo is None else self._halo.exchange(values)

    def store(self, padded: Memory, values: Memory) -> None:
        """Copy the block's cells of an array to ``values``, which may be the array itself where it has no margins."""
        if self._halo is not None:
            self._halo.extract(padded, values)
        elif values is not padded:
            values.copy_from(padded.reshape(values.shape))

    def refresh(self, padded: Memory) -> None:
        """Make the margins of an array whose block is up to date."""
        if self._halo is not None:
            self._halo.refresh(padded)

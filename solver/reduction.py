"""Results of kernels that reduce over cells, reduced further over groups and ranks."""

import numpy as np

from solver.device import Device
from solver.grid import Block, Grid
from solver.ranks import Ranks

__all__ = ["Reduction", "group_count"]


class Reduction:
    """Where a kernel with reduce.okl leaves its results, a number for each group; ranks that share the grid get the same bits.

    Parameters
    ----------
    device : Device
    grid : Grid
    count : int
        Results of the kernel that has most.

    Attributes
    ----------
    memory : Memory
        Shape ``(count * groups,)``, float64, on the device.
    """

    def __init__(self, device: Device, grid: Grid, count: int):
        self._groups = group_count(device)
        self._ranks = Ranks(grid.comm if isinstance(grid, Block) else None)
        self.memory = device.allocate((count * self._groups,), "float64")

    def sums(self, count: int) -> list[float]:
        """Return the first ``count`` results, added up in a fixed order."""
        return self._ranks.add(self._partial(count).sum(axis=1)).tolist()

    def largest(self) -> float:
        """Return the largest of the first result, NaN where one is NaN."""
        return self._ranks.largest(float(np.max(self._partial(1))))

    def _partial(self, count: int) -> np.ndarray:
        partial = np.empty((count, self._groups))
        self.memory[: partial.size].copy_to(partial.ravel())
        return partial


def group_count(device: Device) -> int:
    """Return into how many parts a reduction is divided."""
    return 64 if device.is_host else 256

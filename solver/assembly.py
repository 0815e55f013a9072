"""All cells of a small grid on every rank that shares it."""

from dataclasses import replace

import numpy as np

from solver._occa import Kernel, Memory
from solver.device import Device
from solver.grid import Block
from solver.messages import Gathering
from solver.patch import Patch

__all__ = ["Assembly"]


class Assembly:
    """Puts the blocks of all ranks together on every rank, in one message, and deals patches out again, in none.

    Parameters
    ----------
    device : Device
    block : Block
        This rank's, of the small grid.
    patch : Patch
        Around the block.
    dtype : str
        Of the blocks; patches are float32.
    take, take_single : Kernel
        multigrid_take of this dtype and of float32.
    """

    def __init__(
        self,
        device: Device,
        block: Block,
        patch: Patch,
        dtype: str,
        take: Kernel,
        take_single: Kernel,
    ):
        self._device, self._take, self._take_single = device, take, take_single
        cells = np.arange(block.whole.size).reshape(block.whole.points)
        place = block.decomposition
        owned = [
            Block(block.whole, replace(place, rank=rank), block.comm).part(cells).ravel()
            for rank in range(place.size)
        ]
        self._gathering = Gathering(device, block.comm, dtype, [len(each) for each in owned])
        self._own = self._indices(patch.inside(np.arange(patch.size).reshape(patch.shape)))
        self._order = self._indices(np.argsort(np.concatenate(owned)))
        self._around = self._indices(patch.around(cells))
        self._whole = device.allocate((cells.size,), dtype)

    def collect(self, padded: Memory) -> Memory:
        """Return the blocks of all ranks' patches, shape ``(cells of the grid,)``, on the device; all ranks call it."""
        sent, received = self._gathering.outgoing, self._gathering.incoming
        self._take(sent.size, padded.size, self._own, padded, sent)
        self._gathering.exchange()
        self._take(received.size, received.size, self._order, received, self._whole)
        return self._whole

    def deal(self, whole: Memory, padded: Memory) -> None:
        """Copy this rank's patch, margins included, out of values of the whole grid, float32."""
        self._take_single(padded.size, whole.size, self._around, whole, padded)

    def _indices(self, numbers: np.ndarray) -> Memory:
        memory = self._device.allocate((numbers.size,), "int32")
        memory.copy_from(np.ascontiguousarray(numbers, np.int32).ravel())
        return memory

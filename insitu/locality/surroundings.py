"""A tensor of a block's values with the cells of other ranks around them."""

import dataclasses

import torch
from torch import Tensor

from insitu.bridge import as_torch, from_array
from solver import Block, Device, Halo

__all__ = ["Surroundings"]


class Surroundings:
    """Brings the cells around a block from the ranks that own them, again and again, on the device.

    Parameters
    ----------
    device : Device
    block : Block
        This rank's; all ranks that share its grid make the same exchanges.
    wraps : tuple of bool
        Whether the cells beyond the ends of an axis are those of its other end; else there are none.
    reach : int
        Cells around the block along each cut axis.
    copies : int
        Batch times channels of the values.
    dtype : torch.dtype
        float32 or float64.

    Attributes
    ----------
    inside : tuple of slice
        Where the block lies in what `of` returns.

    Raises
    ------
    TypeError
        Another dtype.
    """

    def __init__(
        self,
        device: Device,
        block: Block,
        wraps: tuple[bool, ...],
        reach: int,
        copies: int,
        dtype: torch.dtype,
    ):
        if dtype not in (torch.float32, torch.float64):
            raise TypeError(
                f"field model: expected float32 or float64 values on several ranks, got {dtype}; convert them, as with .float()"
            )
        place = dataclasses.replace(block.decomposition, is_periodic=wraps)
        here = Block(block.whole, place, block.comm)
        name = str(dtype).removeprefix("torch.")
        self._device = device
        self._halo = Halo(device, here, copies, name, reach, is_padded=True)
        margins = zip(here.margins(reach), here.points, strict=True)
        along = (slice(low, low + n) for (low, _), n in margins)
        self.inside: tuple[slice, ...] = (slice(None), slice(None), *along)

    def of(self, values: Tensor) -> Tensor:
        """Return values (batch, channels, *points) with their surroundings, in memory that the next call overwrites."""
        around = self._halo.exchange(from_array(self._device, values.contiguous()))
        return as_torch(around).reshape(*values.shape[:2], *around.shape[1:])

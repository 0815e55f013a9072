"""Small convolutional networks with fixed random weights, and blocks of a grid for them."""

import numpy as np
import torch
from torch import nn

from insitu.locality import FieldModel
from solver import Dirichlet, Grid, Periodic
from solver.sharing import share

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
POOLS = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
PADS = {
    True: {1: nn.CircularPad1d, 2: nn.CircularPad2d, 3: nn.CircularPad3d},
    False: {1: nn.ReplicationPad1d, 2: nn.ReplicationPad2d, 3: nn.ReplicationPad3d},
}
SIDES = {True: (Periodic(), Periodic()), False: (Dirichlet(0.0), Dirichlet(0.0))}


def frozen(module, dtype=torch.float64, seed=0):
    """The module with random weights that keep values of order one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for part in module.modules():
            if isinstance(part, tuple(CONVOLUTIONS.values())):
                nn.init.normal_(part.weight, std=part.weight[0].numel() ** -0.5)
                nn.init.normal_(part.bias, std=0.1)
            elif isinstance(part, tuple(NORMS.values())):
                nn.init.uniform_(part.running_mean, -0.5, 0.5)
                nn.init.uniform_(part.running_var, 0.5, 2.0)
    return module.to(dtype).eval().requires_grad_(False)


def layer(axes, inputs, outputs, kernel, dilation, padding_mode):
    return CONVOLUTIONS[axes](
        inputs, outputs, kernel, dilation=dilation, padding="same", padding_mode=padding_mode
    )


def layer_with_pads(axes, inputs, outputs, kernel, dilation, wraps):
    """A convolution without padding behind layers that pad each axis its own way."""
    reach = dilation * (kernel - 1)
    pads = []
    for periodic in (True, False):
        widths = [
            n
            for axis in reversed(range(axes))
            for n in ((reach // 2, reach - reach // 2) if wraps[axis] == periodic else (0, 0))
        ]
        pads.append(PADS[periodic][axes](tuple(widths)))
    return nn.Sequential(*pads, CONVOLUTIONS[axes](inputs, outputs, kernel, dilation=dilation))


def block_of(comm, points, wraps=None, ranks=None):
    """This rank's part of a grid; the whole grid where it is alone."""
    wraps = wraps or (True,) * len(points)
    extent = ((0.0, 1.0),) * len(points)
    grid = Grid(tuple(points), extent, tuple(SIDES[periodic] for periodic in wraps))
    return share(grid, None, comm, ranks, False).grid


def part(grid, values):
    """This rank's block of values on the whole grid."""
    return torch.from_numpy(np.ascontiguousarray(grid.part(values.numpy())))


def difference(module, device, grid, whole, staged):
    """How far the module's values on this block are from those on the whole grid, relative to the largest."""
    model = FieldModel(module, device, grid, staged)
    expected = module(whole)
    found = model(part(grid, whole))
    assert found.shape == part(grid, expected).shape and found.is_contiguous()
    return float((found - part(grid, expected)).abs().max() / expected.abs().max())


class Spoiling(nn.Module):
    """Zero until it has been asked so many times, from then on not a number."""

    def __init__(self, after: int):
        super().__init__()
        self.left = after

    def forward(self, states):
        self.left -= 1
        return torch.full_like(states, 0.0 if self.left >= 0 else torch.nan)

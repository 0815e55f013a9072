"""A field model gives on blocks what it gives on the whole grid, by a wide halo and staged."""

from itertools import pairwise

import pytest
import torch
from helpers.networks import (
    NORMS,
    POOLS,
    block_of,
    difference,
    frozen,
    layer,
    layer_with_pads,
    part,
)
from helpers.ranks import same_on_all_ranks
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from insitu.locality import FieldModel, influence_of
from solver import Device

pytestmark = pytest.mark.ranks(1, 2, 3, 4)

ROUND_OFF = {torch.float32: 5e-6, torch.float64: 1e-12}
HOST_MODES = ("Serial", "OpenMP")
WAYS = [False, True, None]
POINTS = {1: (61,), 2: (23, 18), 3: (11, 9, 10)}


@pytest.fixture
def device():
    return Device.open("Serial")


def deep(axes, channels=4, padding_mode="circular"):
    """Five convolutions, the widest reaching over most of a block."""
    kernels = [(3, 1), (5, 1), (3, 2), (1, 1), (3, 1)]
    sizes = [axes, channels, channels, channels, channels, axes]
    layers = []
    for (kernel, dilation), (inputs, outputs) in zip(kernels, pairwise(sizes), strict=True):
        layers += [layer(axes, inputs, outputs, kernel, dilation, padding_mode), nn.GELU()]
    return nn.Sequential(*layers[:-1])


def field(points, channels, dtype=torch.float64, batch=2, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, channels, *points, dtype=dtype, generator=generator)


@pytest.mark.parametrize("padding", ["circular", "zeros", "replicate", "reflect"])
@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize(("mode", "precision"), list(zip(HOST_MODES, ROUND_OFF, strict=True)))
def test_whatever_the_padding_axes_and_precision(comm, mode, axes, padding, precision):
    grid = block_of(comm, POINTS[axes], (padding == "circular",) * axes)
    network = frozen(deep(axes, padding_mode=padding), precision)
    whole = field(POINTS[axes], axes, precision)
    for staged in WAYS:
        error = difference(network, Device.open(mode), grid, whole, staged)
        assert error < ROUND_OFF[precision]


@pytest.mark.parametrize("staged", WAYS)
def test_periodic_and_walled_axes_each_with_their_own_padding(comm, device, staged):
    wraps = (True, False, True)
    grid = block_of(comm, (12, 10, 7), wraps)
    network = frozen(
        nn.Sequential(
            layer_with_pads(3, 2, 3, 3, 1, wraps), nn.Tanh(), layer_with_pads(3, 3, 1, 2, 2, wraps)
        )
    )
    assert difference(network, device, grid, field((12, 10, 7), 2), staged) < 1e-12


@pytest.mark.ranks(2, 3, 4)
@pytest.mark.parametrize("staged", WAYS)
@pytest.mark.parametrize("padding", ["circular", "zeros"])
def test_padding_that_contradicts_the_grid_is_the_models_own(comm, device, padding, staged):
    grid = block_of(comm, (20, 6), (padding != "circular",) * 2, (comm.size, 1))
    network = frozen(deep(2, padding_mode=padding))
    assert difference(network, device, grid, field((20, 6), 2), staged) < 1e-12


@pytest.mark.ranks(2, 4)
@pytest.mark.parametrize("staged", WAYS)
def test_a_halo_wider_than_the_grid(comm, device, staged):
    grid = block_of(comm, (7, 5), ranks=(comm.size, 1))
    network = frozen(deep(2))
    assert influence_of(network, 2).cells == (6, 6)
    assert difference(network, device, grid, field((7, 5), 2), staged) < 1e-12


class Residual(nn.Module):
    """u + f(u), whose influence no rule knows."""

    def __init__(self, influence):
        super().__init__()
        self.influence = influence
        self.body = nn.Sequential(layer(2, 2, 5, 5, 1, "circular"), nn.SiLU(), nn.Conv2d(5, 2, 1))

    def forward(self, u):
        return u + self.body(u)


@pytest.mark.parametrize("staged", WAYS)
def test_a_stated_influence_is_believed(comm, device, staged):
    grid, whole = block_of(comm, (17, 12)), field((17, 12), 2)
    network = frozen(nn.Sequential(Residual(2), Residual((2, 2))))
    assert difference(network, device, grid, whole, staged) < 1e-12


@pytest.mark.ranks(2, 3, 4)
@pytest.mark.parametrize("staged", WAYS)
def test_one_cell_too_few_is_wrong(comm, device, staged):
    grid, whole = block_of(comm, (17, 12)), field((17, 12), 2)
    network = frozen(nn.Sequential(Residual(1), Residual(2)))
    assert difference(network, device, grid, whole, staged) > 1e-3


@pytest.mark.ranks(2, 3, 4)
def test_layers_that_pad_differently_are_staged(comm, device):
    grid, whole = block_of(comm, (14, 13)), field((14, 13), 1)
    network = frozen(nn.Sequential(layer(2, 1, 3, 3, 1, "circular"), layer(2, 3, 1, 3, 1, "zeros")))
    assert difference(network, device, grid, whole, None) < 1e-12
    with pytest.raises(ValueError, match="got circular and other padding of one that ranks share"):
        FieldModel(network, device, grid, staged=False)
    both = nn.Sequential(nn.CircularPad2d(1), nn.Conv2d(1, 1, 5, padding=1))
    with pytest.raises(ValueError, match="pad it alike"):
        FieldModel(both, device, grid)


@pytest.mark.parametrize("staged", WAYS)
def test_views_of_the_halo_are_not_overwritten(comm, device, staged):
    class Second(nn.Module):
        influence = 1

        def forward(self, u):
            return u[:, :1]

    grid, whole = block_of(comm, (19, 6), ranks=(comm.size, 1)), field((19, 6), 2, batch=1)
    network = frozen(nn.Sequential(Second(), Second(), layer(2, 1, 1, 3, 1, "circular")))
    model = FieldModel(network, device, grid, staged)
    first = model(part(grid, whole))
    kept = first.clone()
    model(part(grid, whole + 1))
    assert torch.equal(first, kept)
    assert difference(network, device, grid, whole, staged) < 1e-12
    assert difference(nn.Sequential(Second(), Second()), device, grid, whole, staged) == 0


@st.composite
def networks(draw):
    axes = draw(st.integers(1, 3))
    points = tuple(draw(st.integers(8, (0, 60, 20, 11)[axes])) for _ in range(axes))
    wraps = tuple(draw(st.booleans()) for _ in range(axes))
    channels = [draw(st.integers(1, 3)) for _ in range(draw(st.integers(2, 5)))]
    layers = []
    for inputs, outputs in pairwise(channels):
        kernel, dilation = draw(st.integers(1, 5)), draw(st.integers(1, 2))
        layers += [
            layer_with_pads(axes, inputs, outputs, kernel, dilation, wraps),
            draw(st.sampled_from([nn.Tanh(), nn.GELU(), NORMS[axes](outputs)])),
        ]
        if draw(st.booleans()) and not any(wraps):
            layers.append(POOLS[axes](3, stride=1, padding=1))
    precision = draw(st.sampled_from([torch.float32, torch.float64]))
    network = frozen(nn.Sequential(*layers), precision, draw(st.integers(0, 99)))
    return network, field(points, channels[0], precision, draw(st.integers(1, 2))), wraps


@settings(same_on_all_ranks, max_examples=30)
@given(networks(), st.integers(0, 5))
def test_random_networks_on_random_grids(comm, device, network, cut):
    module, whole, wraps = network
    points = whole.shape[2:]
    ranks = [1] * len(points)
    ranks[cut % len(points)] = comm.size
    for along in (None, tuple(ranks)):
        grid = block_of(comm, points, wraps, along)
        for staged in WAYS:
            error = difference(module, device, grid, whole, staged)
            assert error < ROUND_OFF[whole.dtype]

"""An FNO's spectral layer multiplies Fourier coefficients; the network does not depend on the grid, nor on the place in it."""

import itertools
import math

import pytest
import torch
from torch import nn

from insitu.locality import influence_of
from insitu.surrogates import FNO, Surrogate
from insitu.surrogates.fno import SpectralConvolution
from insitu.training import seeded

POINTS = {1: (16,), 2: (12, 11), 3: (9, 8, 10)}
CPU = torch.device("cpu")


def made(build, dtype=torch.float64):
    with seeded(0, CPU):
        return build().to(dtype)


def awake(network):
    """The network with a random last layer, which begins at zero."""
    with seeded(1, CPU), torch.no_grad():
        nn.init.normal_(network.projection[-1].weight)
    return network.requires_grad_(False)


def field(channels, points, dtype=torch.float64):
    generator = torch.Generator().manual_seed(2)
    return torch.randn(3, channels, *points, dtype=dtype, generator=generator)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_the_layer_is_the_sum_over_its_modes(axes):
    points, modes = POINTS[axes], (3, 2, 4)[:axes]
    layer, v = made(lambda: SpectralConvolution(2, modes)), field(2, points)
    grid = torch.meshgrid(*(torch.arange(n, dtype=v.dtype) / n for n in points), indexing="ij")
    weight = torch.view_as_complex(layer.weight)
    expected = torch.zeros_like(v)
    for place in itertools.product(*(range(n) for n in weight.shape[2:])):
        k = [*(j + 1 - m for j, m in zip(place[:-1], modes[:-1], strict=True)), place[-1]]
        wave = torch.exp(2j * math.pi * sum(j * x for j, x in zip(k, grid, strict=True)))
        found = (v * wave.conj()).mean(tuple(range(2, 2 + axes)))
        amplitude = found @ weight[(..., *place)]
        waves = amplitude.reshape(*amplitude.shape, *(1,) * axes) * wave
        expected += (1 if k[-1] == 0 else 2) * waves.real
    torch.testing.assert_close(layer(v), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shape_precision_and_device_are_those_of_the_field(axes, dtype):
    surrogate = Surrogate(made(lambda: FNO(axes, 3, 2, True, 3, 4, 2), dtype), 2, parameters=1)
    u, parameters = field(2, POINTS[axes], dtype), torch.rand(3, 1, dtype=dtype)
    assert torch.equal(surrogate(u, parameters), u)
    awake(surrogate.core)
    found = surrogate(u, parameters)
    assert (found.shape, found.dtype, found.device) == (u.shape, u.dtype, u.device)
    assert (found - u).abs().max() > 1e-2
    assert all(weight.dtype == dtype for weight in surrogate.parameters())


def test_a_shift_along_a_periodic_axis_shifts_the_result():
    network, u = (
        awake(made(lambda: FNO(2, 1, 1, (True, False), 3, 4))),
        field(1, (12, 10)),
    )
    torch.testing.assert_close(network(u.roll(5, 2)), network(u).roll(5, 2), rtol=0, atol=1e-12)
    assert (network(u.roll(5, 3)) - network(u).roll(5, 3)).abs().max() > 1e-3


@pytest.mark.parametrize(("is_periodic", "bound"), [(True, 1e-9), (False, 2e-2)])
def test_a_finer_grid_has_the_same_values(is_periodic, bound):
    network = awake(made(lambda: FNO(1, 1, 1, is_periodic, 4, 6, 3)))
    found = {}
    for n in (64, 192):
        x = (torch.arange(n, dtype=torch.float64) + 0.5) / n
        found[n] = network(
            (torch.sin(2 * math.pi * x) + 0.5 * torch.cos(4 * math.pi * x))[None, None]
        )
    difference = found[192][..., 1::3] - found[64]
    assert difference.abs().max() < bound * found[64].abs().max()


def test_an_axis_with_sides_knows_where_it_is_and_that_it_ends():
    flat, u = torch.ones(1, 1, 24, dtype=torch.float64), field(1, (24,))
    knows, ends, neither = (
        awake(
            made(lambda periodic=periodic, margin=margin: FNO(1, 1, 1, periodic, 3, 4, 4, margin))
        )
        for periodic, margin in ((False, 0.0), (False, 0.25), (True, 0.25))
    )
    assert knows(flat).std() > 1e-3 and neither(flat).std() < 1e-12
    assert (knows(u) - ends(u)).abs().max() > 1e-3


def test_every_cell_counts():
    assert influence_of(Surrogate(FNO(1, 1, 1, True, 3, 4), 1), 1).cells == (math.inf,)


def test_bad_settings_are_one_sentence():
    with pytest.raises(
        ValueError, match="expected 7 points or more for 4 modes along axis 1, got 6"
    ):
        FNO(2, 1, 1, True, (2, 4), 4)(torch.ones(1, 1, 8, 6))
    with pytest.raises(ValueError, match="axes = 1, 2 or 3, got 0"):
        FNO(0, 1, 1)
    with pytest.raises(ValueError, match="width = >= 1, got 0"):
        FNO(1, 1, 1, width=0)
    with pytest.raises(ValueError, match="is_periodic = 1 entries"):
        FNO(1, 1, 1, (True, False))

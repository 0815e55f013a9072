"""A residual CNN sees the cells it says, wraps periodic axes only, and knows no position on them."""

import pytest
import torch
from helpers.networks import frozen

from insitu.locality import check_influence, influence_of
from insitu.surrogates import ResidualCNN, Surrogate

POINTS = {1: (41,), 2: (19, 17), 3: (11, 12, 13)}
SETTINGS = {1: (5, (1, 2)), 2: (3, (1, 2)), 3: (3, (1,))}


def core(axes, is_periodic=True, dtype=torch.float64):
    kernel, dilations = SETTINGS[axes]
    return frozen(ResidualCNN(axes, 2, 2, is_periodic, 4, kernel, dilations), dtype)


def field(points, dtype=torch.float64, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 2, *points, dtype=dtype, generator=generator)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_a_shift_along_a_periodic_axis_shifts_the_result(axes):
    network, u = core(axes), field(POINTS[axes])
    shifts, dims = tuple(range(3, 3 + axes)), tuple(range(2, 2 + axes))
    expected = network(u).roll(shifts, dims)
    torch.testing.assert_close(network(u.roll(shifts, dims)), expected, rtol=1e-13, atol=1e-13)


def test_a_side_is_no_other_end():
    network, u = core(2, (True, False)), field(POINTS[2])
    torch.testing.assert_close(network(u.roll(4, 2)), network(u).roll(4, 2), rtol=0, atol=1e-13)
    assert (network(u.roll(4, 3)) - network(u).roll(4, 3)).abs().max() > 1e-2
    changed = u.clone()
    changed[..., -1] += 1
    far = (network(changed) - network(u))[..., :5].abs().max()
    assert far == 0 and (network(changed) - network(u))[..., -5:].abs().max() > 1e-2


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_it_sees_the_cells_of_its_convolutions(axes):
    kernel, dilations = SETTINGS[axes]
    stated = kernel // 2 * (2 + 2 * sum(dilations))
    surrogate = Surrogate(core(axes, (axes > 1,) * axes), 2)
    assert influence_of(surrogate, axes).cells == (stated,) * axes
    longer = tuple(2 * stated + 3 for _ in range(axes))
    assert check_influence(surrogate, field(longer), tries=1) == (stated,) * axes


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_untrained_it_leaves_the_state_and_its_precision(dtype):
    surrogate, u = Surrogate(ResidualCNN(1, 2, 2).to(dtype), 2), field((40,), dtype)
    assert torch.equal(surrogate(u), u)
    surrogate(u).square().sum().backward()
    assert surrogate.core[-1][-1].weight.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"axes": 4}, "axes = 1, 2 or 3, got 4"),
        ({"kernel": 4}, "kernel = an odd number, got 4"),
        ({"dilations": (1, 0)}, "dilations = numbers >= 1"),
        ({"width": 0}, "width = >= 1, got 0"),
        ({"is_periodic": (True,)}, "is_periodic = 2 entries"),
    ],
)
def test_bad_settings_are_one_sentence(settings, message):
    with pytest.raises(ValueError, match=message):
        ResidualCNN(**{"axes": 2, "inputs": 1, "outputs": 1, **settings})

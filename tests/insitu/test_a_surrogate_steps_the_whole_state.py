"""A surrogate is u + s · core((u − m)/d, parameters), with statistics and an interval that travel with it."""

import io
import math

import pytest
import torch
from torch import nn

from insitu.locality import check_influence, influence_of
from insitu.surrogates import Surrogate

POINTS = {1: (9,), 2: (6, 5), 3: (4, 3, 5)}


class Known(nn.Module):
    """Twice the components, plus the sum of the parameters' channels."""

    def __init__(self, components):
        super().__init__()
        self.components = components
        self.factor = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))

    def forward(self, inputs):
        return self.factor * inputs[:, : self.components] + inputs[:, self.components :].sum(
            1, True
        )


def states(components, points, count=5, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, components, *points, dtype=dtype, generator=generator)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_one_step_is_the_formula_with_the_statistics_of_the_pairs(axes):
    inputs = 3 + 2 * states(2, POINTS[axes])
    targets = inputs + torch.tensor([0.1, 10.0]).reshape(2, *(1,) * axes) * states(2, POINTS[axes])
    parameters = torch.tensor([[100.0, 1.0]] * 2 + [[300.0, 1.0]] * 3, dtype=torch.float64)
    surrogate = Surrogate(Known(2), 2, parameters=2)
    surrogate.fit_statistics(inputs, targets, parameters)
    dims = (0, *range(2, axes + 2))
    mean, deviation = inputs.mean(dims, True), inputs.std(dims, correction=0, keepdim=True)
    scale = (targets - inputs).square().mean(dims, True).sqrt()
    normal = (parameters[:, :1] - 220) / math.sqrt(9600)
    inside = 2 * (inputs - mean) / deviation + normal.reshape(5, 1, *(1,) * axes)
    expected = inputs + scale * inside
    torch.testing.assert_close(surrogate(inputs, parameters), expected, rtol=1e-12, atol=0)


def test_a_rollout_is_repeated_steps_and_carries_gradients():
    surrogate = Surrogate(Known(1), 1, parameters=1)
    with torch.no_grad():
        surrogate.scale.fill_(0.1)
    start, parameters = states(1, (8,)), torch.rand(5, 1, dtype=torch.float64)
    found = surrogate.rollout(start, 3, parameters)
    assert found.shape == (5, 3, 1, 8)
    state = start
    for step in range(3):
        state = surrogate(state, parameters)
        assert torch.equal(found[:, step], state)
    found[:, -1].sum().backward()
    assert surrogate.core.factor.grad.abs() > 0
    assert surrogate.rollout(start, 0, parameters).shape == (5, 0, 1, 8)


def test_statistics_and_interval_travel_with_the_state_and_survive_conversion():
    surrogate = Surrogate(Known(2), 2, parameters=1, interval=0.1)
    surrogate.fit_statistics(
        1 + states(2, (8,)), states(2, (8,), seed=1), torch.rand(5, 1, dtype=torch.float64)
    )
    packed = io.BytesIO()
    torch.save(surrogate.state_dict(), packed)
    packed.seek(0)
    other = Surrogate(Known(2), 2, parameters=1).to(torch.float64)
    other.load_state_dict(torch.load(packed, weights_only=True))
    assert other.interval == 0.1
    for name, values in surrogate.named_buffers():
        assert torch.equal(dict(other.named_buffers())[name], values), name
    assert not torch.equal(other.mean, torch.zeros(2))
    assert other.float().interval == 0.1


@pytest.mark.parametrize("weights", [torch.float32, torch.float64])
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_a_core_of_zero_keeps_the_bits_in_any_precision(weights, precision):
    surrogate = Surrogate(Known(1), 1).to(weights)
    inputs = states(1, (8,), dtype=precision)
    surrogate.fit_statistics(inputs, inputs + 1)
    assert not torch.equal(surrogate(inputs), inputs)
    with torch.no_grad():
        surrogate.core.factor.zero_()
    assert torch.equal(surrogate(inputs), inputs)
    assert surrogate(inputs).dtype == precision


def test_what_does_not_vary_divides_nothing():
    inputs = torch.full((7, 2, 9), 0.1)
    inputs[:, 1] = states(1, (9,), 7, dtype=torch.float32)[:, 0]
    targets = inputs.clone()
    targets[:, 1] += 0.5
    surrogate = Surrogate(Known(2), 2).float()
    surrogate.fit_statistics(inputs, targets)
    assert surrogate.deviation[0] == 1 and surrogate.scale[0] == 1
    assert surrogate.scale[1] == 0.5


def test_it_sees_as_far_as_its_core():
    convolution = nn.Conv2d(3, 2, (3, 5), padding="same", padding_mode="circular").double()
    surrogate = Surrogate(nn.Sequential(convolution, nn.GELU()), 3)
    assert influence_of(surrogate, 2).cells == (1, 2)
    assert influence_of(surrogate, 2).wraps == (frozenset({True}),) * 2
    two = Surrogate(nn.Sequential(convolution, nn.GELU(), nn.Conv2d(2, 3, 1).double()), 3)
    assert check_influence(two, states(3, (9, 11))) == (1, 2)
    convolution.influence = math.inf
    assert "Conv2d) states that it depends on every cell" in influence_of(surrogate, 2).reason


def test_bad_input_is_one_sentence():
    surrogate = Surrogate(Known(2), 2, parameters=1)
    parameters = torch.ones(5, 1, dtype=torch.float64)
    with pytest.raises(
        ValueError, match=r"expected states \(batch, 2, \*points\), got \(5, 1, 8\)"
    ):
        surrogate(states(1, (8,)), parameters)
    with pytest.raises(ValueError, match=r"expected parameters of shape \(5, 1\), got \(5, 0\)"):
        surrogate(states(2, (8,)))
    with pytest.raises(ValueError, match=r"parameters of shape \(5, 1\), got \(5, 2\)"):
        surrogate.rollout(states(2, (8,)), 1, parameters.expand(5, 2))
    with pytest.raises(ValueError, match="steps >= 0, got -1"):
        surrogate.rollout(states(2, (8,)), -1, parameters)
    with pytest.raises(ValueError, match="targets of shape"):
        surrogate.fit_statistics(states(2, (8,)), states(2, (9,)), parameters)
    with pytest.raises(ValueError, match="finite training pairs, got scale"):
        surrogate.fit_statistics(states(2, (8,)), states(2, (8,)) * math.inf, parameters)
    with pytest.raises(ValueError, match="components >= 1, got 0"):
        Surrogate(Known(2), 0)
    with pytest.raises(ValueError, match="an interval > 0, got 0"):
        Surrogate(Known(2), 2, interval=0.0)

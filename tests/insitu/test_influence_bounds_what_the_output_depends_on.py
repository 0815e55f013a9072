"""The influence of a network is the distance at which a change in its input is still felt."""

import math
import re

import pytest
import torch
from helpers.networks import frozen, layer, layer_with_pads
from torch import nn

from insitu.locality import check_influence, influence_of
from insitu.locality.influence import stages_of

ALIKE = nn.Conv2d(1, 1, 3, padding=1)
EVEN = "ignore:Using padding='same' with even kernel lengths"


class Sum(nn.Module):
    """A cell plus the one ``far`` cells below, around the ends."""

    def __init__(self, far, influence):
        super().__init__()
        self.far, self.influence = far, influence

    def forward(self, u):
        return u + u.roll(self.far, -1)


@pytest.mark.filterwarnings(EVEN)
@pytest.mark.parametrize(
    ("network", "cells"),
    [
        (nn.Conv2d(1, 2, (3, 5), padding="same"), (1, 2)),
        (nn.Conv2d(1, 1, 3, dilation=(1, 4), padding=(1, 4), padding_mode="circular"), (1, 4)),
        (nn.Conv2d(1, 1, (4, 2), padding="same"), (2, 1)),
        (nn.Conv2d(1, 3, 1), (0, 0)),
        (nn.Sequential(ALIKE, nn.Tanh(), ALIKE, nn.Sequential(ALIKE, nn.Identity())), (3, 3)),
        (nn.Sequential(nn.ZeroPad2d((3, 0, 0, 0)), nn.Conv2d(1, 1, (1, 4))), (0, 3)),
        (nn.Sequential(nn.ReflectionPad2d(2), nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3)), (2, 2)),
        (layer_with_pads(2, 1, 1, 3, 2, (True, False)), (2, 2)),
        (nn.Sequential(nn.AvgPool2d((3, 1), 1, (1, 0)), nn.BatchNorm2d(1)), (1, 0)),
        (nn.MaxPool2d(3, stride=1, padding=1), (1, 1)),
        (nn.Sequential(nn.Dropout(), nn.InstanceNorm2d(1, track_running_stats=True)), (0, 0)),
        (nn.Sequential(Sum(4, (0, 4)), Sum(1, 1)), (1, 5)),
        (nn.Sequential(), (0, 0)),
    ],
)
def test_it_is_found_and_felt(network, cells):
    network = frozen(network)
    influence = influence_of(network, 2)
    assert influence.cells == cells and not influence.reason
    felt = check_influence(network, torch.randn(1, 1, 15, 16, dtype=torch.float64), tries=8)
    if any(isinstance(part, Sum) for part in network.modules()):
        cells = (0, 5)
    assert felt == cells


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_a_deep_network_is_felt_as_far_as_it_reaches(axes):
    layers = [layer(axes, 1, 1, kernel, 1, "circular") for kernel in (3, 5, 3)]
    network = frozen(nn.Sequential(layers[0], nn.GELU(), layers[1], nn.GELU(), layers[2]))
    field = torch.randn(2, 1, *(11,) * axes, dtype=torch.float64)
    assert check_influence(network, field) == influence_of(network, axes).cells == (4,) * axes


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (nn.AdaptiveAvgPool2d(1), r"layer '1' \(AdaptiveAvgPool2d\) may depend on every cell"),
        (nn.Linear(9, 9), r"layer '1' \(Linear\) may depend on every cell"),
        (nn.Sequential(nn.ReLU(), nn.GroupNorm(1, 1)), r"layer '1.1' \(GroupNorm\) may depend"),
        (nn.BatchNorm2d(1), r"BatchNorm2d\) normalises over the grid unless it has running"),
        (nn.InstanceNorm2d(1).eval(), r"InstanceNorm2d\) normalises over the grid"),
        (nn.Dropout(), r"\(Dropout\) draws at random in training"),
        (nn.Conv2d(1, 1, 3, stride=2), r"\(Conv2d\) has stride \(2, 2\)"),
        (nn.MaxPool2d(2), r"\(MaxPool2d\) has stride 2"),
        (nn.Conv1d(1, 1, 1), r"\(Conv1d\) is made for 1 axes, the grid has 2"),
        (nn.Conv2d(1, 1, 3), r"Sequential changes the number of points by -2, -2"),
        (Sum(1, math.inf), r"\(Sum\) states that it depends on every cell"),
    ],
)
def test_what_has_no_bound_is_named(part, reason):
    influence = influence_of(nn.Sequential(ALIKE, part), 2)
    assert influence.cells == (math.inf, math.inf)
    assert re.search(reason, influence.reason)


def test_one_axis_may_be_bounded_and_the_other_not():
    influence = influence_of(nn.Sequential(Sum(1, (1, math.inf)), ALIKE), 2)
    assert influence.cells == (2, math.inf)


def test_a_class_of_its_own_states_its_influence():
    class Own(nn.Conv2d):
        pass

    class Chain(nn.Sequential):
        def forward(self, u):
            return u.mean()

    assert influence_of(Own(1, 1, 3, padding=1), 2).reason == "Own may depend on every cell"
    assert influence_of(Chain(ALIKE), 2).reason == "Chain may depend on every cell"
    own = Own(1, 1, 3, padding=1)
    own.influence = 1
    assert influence_of(own, 2).cells == (1, 1)


@pytest.mark.parametrize("influence", [-1, 0.5, True, "1", (1,), (1, 2, 3), None])
def test_a_stated_influence_is_a_number_of_cells(influence):
    with pytest.raises(ValueError, match="influence of Sum: expected cells of 0 or more"):
        influence_of(Sum(1, influence), 2)


def test_an_influence_one_too_small_is_found():
    network = Sum(3, (0, 2))
    with pytest.raises(ValueError, match="within 0, 2 cells of a change in its input, got 0, 3"):
        check_influence(network, torch.randn(1, 1, 9, 9))
    with pytest.raises(ValueError, match="expected 7 points or more along axis 1 .* got 6"):
        check_influence(network, torch.randn(1, 1, 9, 6))


def test_stages_are_as_short_as_they_can_be():
    padded = nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(1, 1, 3))
    network = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Tanh(), padded, Sum(1, 1))
    stages = stages_of(network, 2)
    assert [stage.cells for stage in stages] == [(1, 1), (0, 0), (1, 1), (1, 1)]
    assert [list(stage.wraps[0]) for stage in stages] == [[False], [], [False], []]
    u = torch.randn(1, 1, 6, 7)
    expected = network(u)
    for stage in stages:
        u = stage.module(u)
    assert torch.equal(u, expected)

"""The loop holds out the end of the span, stops early, restores the best and is reproducible."""

import math

import pytest
import torch
from torch import nn

from insitu.training import Training, TrainingError, seeded, train


def pairs(count=60, dtype=torch.float64):
    inputs = torch.linspace(-1, 1, count, dtype=dtype)[:, None]
    return inputs, inputs.square()


def network(seed=0, dtype=torch.float64):
    with seeded(seed, torch.device("cpu")):
        return nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1)).to(dtype)


class Drift(nn.Module):
    """A module whose loss falls, then rises: weight w goes 0, 1, 2, ... past the target 3."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, inputs):
        return inputs * self.weight


class OneUp(torch.optim.Optimizer):
    """An optimizer that adds 1 to every parameter."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.add_(1.0)


@pytest.fixture
def one_up(monkeypatch):
    monkeypatch.setattr(torch.optim, "OneUp", OneUp, raising=False)
    return "torch.optim.OneUp"


def test_the_best_weights_come_back_and_patience_ends_it(one_up):
    module, ones = Drift(), torch.ones(10, 1, dtype=torch.float64)
    settings = Training(epochs=50, batch_size=10, patience=4, optimizer=one_up)
    record = train(module, ones, 3 * ones, settings)
    assert module.weight.item() == 3.0
    assert record.best_epoch == 2
    assert record.validation_loss == [4.0, 1.0, 0.0, 1.0, 4.0, 9.0, 16.0]
    assert record.loss == [9.0, 4.0, 1.0, 0.0, 1.0, 4.0, 9.0]
    assert record.stopped_early
    assert not module.training


def test_without_validation_the_training_loss_is_watched(one_up):
    module, ones = Drift(), torch.ones(10, 1, dtype=torch.float64)
    settings = Training(epochs=50, batch_size=10, patience=4, validation=0.0, optimizer=one_up)
    record = train(module, ones, 3 * ones, settings)
    assert record.validation_loss == []
    assert record.best_epoch == 3
    assert len(record.loss) == 8
    assert not module.training


def test_the_held_out_part_is_the_last_in_time():
    seen = set()

    class Spy(nn.Linear):
        def forward(self, inputs):
            if self.training:
                seen.update(inputs[:, 0].tolist())
            return super().forward(inputs)

    inputs = torch.arange(10, dtype=torch.float64)[:, None]
    train(Spy(1, 1).double(), inputs, inputs, Training(epochs=2, batch_size=3, validation=0.25))
    assert seen == {0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0}


def test_as_many_pairs_as_asked_for_are_held_out(one_up):
    module, targets = Drift(), torch.tensor([[3.0]] * 4 + [[5.0]] * 3, dtype=torch.float64)
    settings = Training(epochs=9, batch_size=10, patience=4, validation=0.1, optimizer=one_up)
    train(module, torch.ones_like(targets), targets, settings, held_out=3)
    assert module.weight.item() == 5.0
    with pytest.raises(ValueError, match="at least 2 pairs"):
        train(module, targets, targets, settings, held_out=7)


def test_the_rate_falls_along_half_a_cosine(monkeypatch):
    seen = []

    class Watched(torch.optim.SGD):
        def step(self, closure=None):
            seen.append(self.param_groups[0]["lr"])
            return super().step(closure)

    monkeypatch.setattr(torch.optim, "Watched", Watched, raising=False)
    settings = {"learning_rate": 0.1, "optimizer": "torch.optim.Watched", "batch_size": 60}
    train(network(), *pairs(), Training(epochs=5, final_rate=0.2, **settings))
    fall = 0.08 * (1 - math.sqrt(0.5)) / 2
    assert seen == pytest.approx([0.1, 0.1 - fall, 0.06, 0.02 + fall, 0.02])
    seen.clear()
    train(network(), *pairs(), Training(epochs=1, final_rate=0.2, **settings))
    train(network(), *pairs(), Training(epochs=2, **settings))
    assert seen == [0.1] * 3


def test_training_learns():
    inputs, targets = pairs()
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    module = network()
    settings = Training(epochs=300, learning_rate=1e-2, patience=300)
    record = train(module, inputs[order], targets[order], settings)
    assert min(record.validation_loss) < 1e-2 * record.validation_loss[0]
    assert record.seconds > 0


def test_equal_seeds_give_bitwise_equal_weights_and_other_seeds_do_not():
    results = []
    for seed in (0, 0, 1):
        module = network()
        torch.rand(7)
        record = train(module, *pairs(), Training(epochs=5, seed=seed))
        results.append((record.loss, module.state_dict()))
    (first, weights), (second, same), (third, other) = results
    assert first == second != third
    assert all(torch.equal(weights[name], same[name]) for name in weights)
    assert not all(torch.equal(weights[name], other[name]) for name in weights)


def test_a_seed_decides_what_is_drawn_inside_its_block():
    drawn = []
    for seed in (0, 0, 1):
        with seeded(seed, torch.device("cpu")):
            drawn.append(torch.rand(4))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_the_global_random_state_is_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    module = nn.Sequential(network(), nn.Dropout(0.5), nn.Linear(1, 1).double())
    torch.manual_seed(3)
    train(module, *pairs(), Training(epochs=3))
    assert torch.equal(torch.rand(4), expected)


def test_a_loss_that_is_not_finite_is_an_error(one_up):
    inputs = torch.full((10, 1), 1e200, dtype=torch.float64)
    with pytest.raises(TrainingError, match=r"expected a finite loss.*epoch 0.*learning_rate"):
        train(Drift(), inputs, inputs, Training(epochs=3, optimizer=one_up, batch_size=2))


def test_pairs_that_are_not_finite_are_an_error():
    inputs, targets = pairs()
    targets[3] = math.nan
    with pytest.raises(ValueError, match="expected finite coefficients, got 1 NaN"):
        train(network(), inputs, targets, Training(epochs=1))


def test_too_few_pairs_are_an_error():
    inputs, targets = pairs(1)
    with pytest.raises(ValueError, match="expected at least 2 pairs"):
        train(network(), inputs, targets, Training())


def test_progress_sees_every_epoch():
    seen = []
    settings = Training(epochs=3)
    train(network(), *pairs(), settings, lambda epoch, r: seen.append((epoch, len(r.loss))))
    assert seen == [(0, 1), (1, 2), (2, 3)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("patience", 0),
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("validation", 1.0),
        ("validation", -0.1),
        ("seed", -1),
        ("final_rate", 1.1),
        ("optimizer", "torch.optim.Adom"),
        ("optimizer", "torch.nn.Linear"),
        ("optimizer", "Adam"),
    ],
)
def test_bad_settings_name_their_key(name, value):
    with pytest.raises(ValueError, match=rf"training\.{name} must be .*, got {value}"):
        Training(**{name: value})

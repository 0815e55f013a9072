"""Interleaved training gives the same losses and weights to the bit, again and after a restart in the middle."""

import io

import pytest
import torch
from torch import nn

from insitu.online import Members, Online, OnlineTrainer
from insitu.training import TrainingError, seeded

STATE = torch.device("cpu")


class Scaled(nn.Module):
    """A network with statistics of its own, and dropout."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(1, 8, 5, padding=2, padding_mode="circular"),
            nn.Tanh(),
            nn.Dropout(0.1),
            nn.Conv1d(8, 1, 5, padding=2, padding_mode="circular"),
        )
        self.register_buffer("mean", torch.zeros(1))
        self.register_buffer("scale", torch.ones(1))
        self.fitted = []

    def forward(self, states):
        return states + self.scale * self.layers(states - self.mean)

    def fit_statistics(self, inputs, targets, parameters, comm):
        self.fitted.append(inputs.clone())
        self.mean.fill_(inputs.mean())
        self.scale.fill_((targets - inputs).square().mean().sqrt())


def network():
    with seeded(0, STATE):
        return Scaled()


def settings(**changes):
    values = {"batch_size": 8, "capacity": 20, "warm_up": 6, "validate_every": 5, "seed": 3}
    return Online(model=network(), **(values | changes))


def state(sample, members=2):
    """A wave of each member that travels and decays."""
    x = torch.linspace(0, 6.2831853, 33, dtype=torch.float64)[:-1]
    rows = [torch.sin(x * (1 + member) - 0.1 * sample) * 0.99**sample for member in range(members)]
    return torch.stack(rows)[:, None]


def trained(trainer, samples, disturb=False):
    losses = []
    for sample in samples:
        if disturb:
            torch.rand(7)
        trainer.offer(sample, state(sample))
        losses += [trainer.step(), trainer.step()]
    return [float(loss) for loss in losses if loss is not None]


def start(**changes):
    return OnlineTrainer(settings(**changes), STATE, torch.float64)


def weights(trainer):
    return [value.clone() for value in trainer.module.state_dict().values()]


def assert_same(one, two):
    assert all(torch.equal(a, b) for a, b in zip(weights(one), weights(two), strict=True))
    assert one.record == two.record


def test_ten_reruns_have_the_same_bits():
    first = start()
    losses = trained(first, range(40))
    assert len(losses) == 2 * (40 - 6) and losses[-1] < losses[0]
    for rerun in range(10):
        trainer = start()
        torch.manual_seed(rerun)
        assert trained(trainer, range(40), disturb=True) == losses
        assert_same(first, trainer)


def test_another_seed_is_another_run():
    assert trained(start(), range(20)) != trained(start(seed=4), range(20))


@pytest.mark.parametrize("stop", [3, 13, 29])
@pytest.mark.parametrize("policy", ["ring", "reservoir"])
def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(stop, policy):
    whole = start(policy=policy)
    losses = trained(whole, range(40))
    before = start(policy=policy)
    first = trained(before, range(stop))
    saved = io.BytesIO()
    torch.save(before.state_dict(), saved)
    trained(before, range(stop, 40))
    saved.seek(0)
    resumed = start(policy=policy, seed=3)
    resumed.load_state_dict(torch.load(saved, weights_only=False))
    assert first + trained(resumed, range(stop, 40)) == losses
    assert_same(whole, resumed)


def test_the_random_numbers_of_others_are_left_alone():
    trainer = start()
    trained(trainer, range(10))
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    trained(trainer, range(10, 14))
    assert torch.equal(torch.rand(3), expected)


def test_statistics_come_from_training_pairs_only():
    trainer = start(validation=Members(0.5))
    for sample in range(10):
        both = state(sample)
        both[1] += 1e6
        trainer.offer(sample, both)
        trainer.step()
    (inputs,) = trainer.module.fitted
    assert len(inputs) == 6
    assert float(inputs.abs().max()) < 2
    assert float(trainer.module.state_dict()["mean"].abs()) < 2


def test_validation_is_reported_beside_persistence():
    trainer = start(validate_every=10)
    trained(trainer, range(60))
    step, loss, persistence = trainer.record.validation[-1]
    assert step == trainer.record.steps // 10 * 10
    assert loss < 0.5 * persistence
    pairs = trainer.validation.gather(
        trainer.validation.here(torch.arange(trainer.validation.pairs))
    )
    scale = trainer.module.scale
    trainer.validate()
    expected = nn.functional.mse_loss(pairs.inputs / scale, pairs.targets / scale)
    assert trainer.record.validation[-1][2] == pytest.approx(float(expected))


def test_the_module_of_the_case_is_not_trained():
    case = settings()
    trainer = OnlineTrainer(case, STATE, torch.float64)
    before = [weight.clone() for weight in case.model.parameters()]
    trained(trainer, range(12))
    assert all(torch.equal(a, b) for a, b in zip(before, case.model.parameters(), strict=True))
    assert trainer.record.steps


def test_a_loss_that_is_not_finite_is_told():
    trainer = OnlineTrainer(
        settings(optimizer=lambda weights: torch.optim.SGD(weights, lr=1e30)), STATE, torch.float64
    )
    with pytest.raises(TrainingError, match=r"expected a finite loss, got (nan|inf) by step \d+"):
        trained(trainer, range(20))

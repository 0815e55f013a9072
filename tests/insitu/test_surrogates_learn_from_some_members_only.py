"""Surrogates learn a map from members of an ensemble; those held out leave no trace; a right core gives a right forecast."""

import dataclasses
import math

import pytest
import torch

from insitu.surrogates import FNO, ResidualCNN, Surrogate, Trajectories, fit
from insitu.training import Training, seeded

POINTS, TIMES = 32, 6
CPU = torch.device("cpu")


def advected(members, dtype=torch.float64, seed=0):
    """Waves that decay at the rate given as their parameter, and move two cells an interval."""
    generator = torch.Generator().manual_seed(seed)
    rates = 0.05 + 0.2 * torch.rand(members, 1, dtype=dtype, generator=generator)
    phases = 2 * math.pi * torch.rand(members, 1, 1, dtype=dtype, generator=generator)
    t = torch.arange(TIMES, dtype=dtype)[:, None]
    x = torch.arange(POINTS, dtype=dtype)
    waves = 1 + torch.sin(2 * math.pi * (x - 2 * t) / POINTS + phases)
    return Trajectories((torch.exp(-rates * t.T)[..., None] * waves)[:, :, None], rates)


def surrogate(core="cnn", dtype=torch.float64):
    cores = {
        "cnn": lambda: ResidualCNN(1, 2, 1, True, 8, 5, (1,)),
        "fno": lambda: FNO(1, 2, 1, True, 3, 8, 2),
    }
    with seeded(0, CPU):
        return Surrogate(cores[core]().to(dtype), 1, parameters=1)


SETTINGS = Training(epochs=40, batch_size=16, learning_rate=3e-3, final_rate=0.01, validation=0.25)


def error(model, runs):
    with torch.no_grad():
        found = model.rollout(runs.states[:, 0], TIMES - 1, runs.parameters)
    truth = runs.states[:, 1:]
    return float((found - truth).norm() / truth.norm())


@pytest.mark.parametrize("core", ["cnn", "fno"])
def test_unseen_members_are_forecast_from_unseen_parameters(core):
    model, unseen = surrogate(core), advected(8, seed=1)
    still = error(model, unseen)
    record = fit(model, advected(16), SETTINGS, steps=2)
    assert error(model, unseen) < 0.1 * still
    assert record.validation_loss[record.best_epoch] < 0.05
    assert not model.training


def test_the_parameter_is_used():
    model, unseen = surrogate(), advected(8, seed=1)
    fit(model, advected(16), SETTINGS)
    swapped = Trajectories(unseen.states, unseen.parameters.flip(0))
    assert error(model, swapped) > 3 * error(model, unseen)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_member_is_learnt_by_heart(dtype):
    model, run = surrogate(dtype=dtype), advected(1, dtype)
    settings = dataclasses.replace(SETTINGS, validation=0.0, epochs=150, patience=150)
    record = fit(model, run, settings)
    assert record.loss[0] > 0.3 and record.watched[record.best_epoch] < 5e-3
    assert model.mean.dtype == dtype


def test_held_out_members_change_neither_weights_nor_statistics():
    runs, settings = advected(8), dataclasses.replace(SETTINGS, epochs=2, patience=2)
    models = []
    for factor in (1.0, 1.5):
        states = runs.states.clone()
        states[6:] *= factor
        models.append(surrogate())
        record = fit(models[-1], Trajectories(states, runs.parameters), settings)
        assert record.best_epoch == 1
    for name, values in models[0].state_dict().items():
        assert torch.equal(values.nan_to_num(), models[1].state_dict()[name].nan_to_num()), name
    seen = runs.of(slice(6)).states[:, :-1]
    torch.testing.assert_close(models[0].mean, seen.mean()[None], rtol=1e-12, atol=0)
    states[5] *= 1.5
    other = surrogate()
    fit(other, Trajectories(states, runs.parameters), settings)
    assert not torch.equal(other.mean, models[0].mean)


def test_pairs_never_cross_members():
    runs = advected(3)
    inputs, targets, parameters = runs.pairs(2)
    each = TIMES - 2
    assert len(inputs) == 3 * each and targets.shape == (3 * each, 2, 1, POINTS)
    for pair in range(3 * each):
        member, time = divmod(pair, each)
        assert torch.equal(inputs[pair], runs.states[member, time])
        assert torch.equal(targets[pair], runs.states[member, time + 1 : time + 3])
        assert torch.equal(parameters[pair], runs.parameters[member])


def test_bad_input_is_one_sentence():
    runs = advected(2)
    with pytest.raises(ValueError, match="parameters for each of 2 members, got 3"):
        Trajectories(runs.states, torch.ones(3, 1))
    with pytest.raises(
        ValueError, match="more than 6 times to pair states with 6 after them, got 6"
    ):
        runs.pairs(6)
    with pytest.raises(ValueError, match="finite training pairs"):
        fit(surrogate(), Trajectories(runs.states * math.nan, runs.parameters), SETTINGS)

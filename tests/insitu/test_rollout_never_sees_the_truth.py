"""A forecast follows from its history and its own output, step by step."""

import pytest
import torch

from insitu.models import DMD, LSTM, Persistence
from insitu.training import Training

MODELS = [LSTM(hidden=6, training=Training(epochs=3)), DMD(), DMD(delays=3), Persistence()]


def series(time=60):
    t = torch.linspace(0, 6, time, dtype=torch.float64)
    return torch.stack([torch.sin(t), torch.cos(2 * t)], dim=1)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_one_long_rollout_is_many_of_one_step(model):
    model.fit(series())
    states = series()[-model.history :]
    together = model.forecast(states, 12)
    for _ in range(12):
        states = torch.cat([states, model.forecast(states[-model.history :], 1)])
    torch.testing.assert_close(states[model.history :], together, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_what_lies_after_the_history_in_memory_does_not_matter(model):
    model.fit(series()[:40])
    truth = series().clone()
    history = truth[40 - model.history : 40]
    before = model.forecast(history, 20)
    truth[40:] = float("nan")
    assert torch.equal(model.forecast(history, 20), before)
    assert torch.equal(history, series()[40 - model.history : 40])


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_the_forecast_owns_its_memory(model):
    model.fit(series())
    history = series()[-model.history :]
    forecast = model.forecast(history, 4)
    forecast.zero_()
    assert torch.equal(history, series()[-model.history :])


def test_persistence_repeats_the_last_state():
    model = Persistence()
    model.fit(series())
    assert torch.equal(model.forecast(series()[-1:], 3), series()[-1:].expand(3, 2))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_the_score_is_of_one_step_forecasts(model):
    model.fit(series())
    data, history = series() ** 2, model.history
    ends = range(history, len(data))
    steps = torch.cat([model.forecast(data[end - history : end], 1) for end in ends])
    truth = data[history:]
    spread = (truth - truth.mean(dim=0)).square().sum()
    expected = 1 - (steps - truth).square().sum() / spread
    assert model.score(data) == pytest.approx(float(expected), rel=1e-9)

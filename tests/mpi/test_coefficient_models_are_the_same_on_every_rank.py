"""Models of the coefficients are fitted once, and every rank holds the very same one and its forecasts."""

import os

import pytest
import torch
from helpers.blocks import are_alike, block

from insitu.forecasting import evaluate_split, fit
from insitu.models import DMD, LSTM, Persistence
from insitu.reduction import POD
from insitu.timing import Ledger
from insitu.training import Training, TrainingError
from solver import Device

MODELS = {
    "lstm": lambda: LSTM(hidden=6, layers=1, training=Training(epochs=4, seed=os.getpid())),
    "dmd": lambda: DMD(delays=2),
    "persistence": Persistence,
}


def snapshots(time=50, features=90):
    t, x = torch.linspace(0, 3, time, dtype=torch.float64), torch.linspace(0, 6, features)
    return torch.sin(x - t[:, None]) + 0.3 * torch.cos(2 * x + 3 * t[:, None])


def tensors(state):
    for value in state.values():
        if isinstance(value, dict):
            yield from tensors(value)
        elif isinstance(value, torch.Tensor):
            yield value


@pytest.mark.parametrize("name", MODELS)
def test_one_fit_reaches_every_rank(comm, name):
    model, series, seen = MODELS[name](), snapshots()[:, :3], []
    record = fit(model, series, lambda epoch, _: seen.append(epoch), comm)
    assert are_alike(comm, *tensors(model.state_dict()))
    assert are_alike(comm, model.forecast(series[: model.history], 9))
    assert len(set(comm.allgather(repr(record)))) == 1
    assert seen == (list(range(4)) if name == "lstm" and comm.rank == 0 else [])


@pytest.mark.ranks(2, 4)
def test_fits_on_each_rank_would_differ_here(comm):
    model, series = MODELS["lstm"](), snapshots()[:, :3]
    model.fit(series)
    assert not are_alike(comm, *tensors(model.state_dict()))


class Failing(Persistence):
    """A model whose fit fails."""

    def fit(self, series, progress=None):
        raise TrainingError("expected a finite loss")


def test_a_fit_that_fails_fails_on_every_rank(comm):
    with pytest.raises(TrainingError, match="expected a finite loss"):
        fit(Failing(), snapshots(), None, comm)
    assert comm.allreduce(1) == comm.size


@pytest.mark.parametrize("split", ["published", "causal"])
@pytest.mark.parametrize("method", ["svd", "snapshots"])
@pytest.mark.ranks(1, 2, 3, 4, 6, 8)
def test_a_split_is_that_of_one_rank(comm, split, method):
    field, mine = snapshots(), block(comm, 90)
    ledger = Ledger(Device.open("Serial"))
    models = [LSTM(hidden=6, layers=1, training=Training(epochs=4)), DMD(), DMD(), Persistence()]
    reduction = POD(rank=3, method=method)
    result = evaluate_split(split, field[:, mine], 30, reduction, models, ledger, None, comm)
    alone = evaluate_split(split, field, 30, reduction, models, ledger)
    torch.testing.assert_close(result.coefficients, alone.coefficients, rtol=0, atol=1e-9)
    assert result.projection_error == pytest.approx(alone.projection_error, rel=1e-9)
    assert (
        list(result.forecasts) == list(alone.forecasts) == ["LSTM", "DMD", "DMD 2", "Persistence"]
    )
    for name, forecast in result.forecasts.items():
        other = alone.forecasts[name]
        assert are_alike(comm, forecast.coefficients)
        assert forecast.field_error == pytest.approx(other.field_error, rel=1e-6)
        assert forecast.coefficient_error == pytest.approx(other.coefficient_error, rel=1e-6)
        assert forecast.one_step_r2 == pytest.approx(other.one_step_r2, rel=1e-6)
        if other.training:
            assert forecast.training.loss == pytest.approx(other.training.loss, rel=1e-6)
    assert [stage["name"] for stage in ledger.as_list()] == ["reduction", "training", "rollout"]

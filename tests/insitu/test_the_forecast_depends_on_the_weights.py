"""A forecast is made by the fitted weights, and saved weights make the same one."""

import pytest
import torch

from insitu.models import DMD, LSTM, Forecaster, Persistence
from insitu.online import Online, OnlineTrainer
from insitu.training import Training, TrainingRecord

MODELS = {
    "lstm": lambda: LSTM(hidden=6, layers=2, training=Training(epochs=3)),
    "lstm-standard": lambda: LSTM(6, 1, 3, "standard", Training(epochs=3)),
    "dmd": lambda: DMD(),
    "dmd-delays": lambda: DMD(delays=3, rank=4),
    "persistence": lambda: Persistence(),
}


def series(time=60, dtype=torch.float64):
    t = torch.linspace(0, 6, time, dtype=torch.float64)
    return torch.stack([3 * torch.sin(t), torch.cos(2 * t) + 5, t / 4], dim=1).to(dtype)


@pytest.fixture(params=MODELS)
def build(request):
    return MODELS[request.param]


def fitted(build, dtype=torch.float64):
    model = build()
    model.fit(series(dtype=dtype))
    return model


def perturb(state):
    for value in state.values():
        if isinstance(value, dict):
            perturb(value)
        elif isinstance(value, torch.Tensor) and value.is_floating_point():
            value.mul_(1.01)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("lstm", "network"),
        ("lstm-standard", "network"),
        ("dmd", "operator"),
        ("dmd-delays", "operator"),
    ],
)
def test_a_perturbed_weight_changes_the_forecast(name, part):
    model = fitted(MODELS[name])
    history = series()[-model.history :]
    before = model.forecast(history, 5)
    state = model.state_dict()
    perturb({part: state[part]})
    model.load_state_dict(state)
    assert (model.forecast(history, 5) - before).abs().max() > 1e-6


@pytest.mark.parametrize("name", ["weight_ih_l0", "weight_hh_l1", "bias_ih_l1"])
def test_every_layer_of_the_lstm_counts(name):
    model = fitted(MODELS["lstm"])
    history = series()[-5:]
    before = model.forecast(history, 5)
    state = model.state_dict()
    state["network"][f"recurrent.{name}"].add_(0.1)
    model.load_state_dict(state)
    assert not torch.equal(model.forecast(history, 5), before)


def test_a_perturbed_history_changes_the_forecast(build):
    model = fitted(build)
    history = series()[-model.history :].clone()
    before = model.forecast(history, 5)
    history[-1] += 0.1
    assert (model.forecast(history, 5) - before).abs().max() > 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_saved_model_gives_bitwise_the_same_forecast(build, dtype, tmp_path):
    model = fitted(build, dtype)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    again = build()
    again.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    history = series(dtype=dtype)[-model.history :]
    forecast = again.forecast(history, 20)
    assert torch.equal(forecast, model.forecast(history, 20))
    assert forecast.dtype == dtype
    assert again.score(series(dtype=dtype)) == model.score(series(dtype=dtype))


def test_equal_seeds_give_bitwise_equal_forecasts(build):
    first, second = fitted(build), fitted(build)
    history = series()[-first.history :]
    assert torch.equal(first.forecast(history, 9), second.forecast(history, 9))


def test_single_and_double_precision_agree(build):
    single, double = fitted(build, torch.float32), fitted(build)
    history = series()[-double.history :]
    forecast = single.forecast(history.float(), 3)
    torch.testing.assert_close(forecast.double(), double.forecast(history, 3), rtol=1e-3, atol=1e-3)


def test_fitting_leaves_the_global_random_state(build):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fitted(build)
    assert torch.equal(torch.rand(3), expected)


def test_every_model_is_a_forecaster(build):
    model = build()
    assert isinstance(model, Forecaster)
    record = model.fit(series())
    assert isinstance(record, TrainingRecord) == isinstance(model, LSTM)


def test_bad_use_is_one_sentence(build):
    model = build()
    history = series()[-model.history :]
    with pytest.raises(RuntimeError, match="expected a fitted model"):
        model.forecast(history, 3)
    with pytest.raises(RuntimeError, match="expected a fitted model"):
        model.state_dict()
    with pytest.raises(ValueError, match="expected at least .* snapshots"):
        model.fit(series()[:0])
    model.fit(series())
    with pytest.raises(ValueError, match="expected a history of shape"):
        model.forecast(series()[: model.history + 1], 3)
    with pytest.raises(ValueError, match="expected a history of shape"):
        model.forecast(history[:, 1:], 3)
    with pytest.raises(ValueError, match="expected steps >= 0, got -1"):
        model.forecast(history, -1)
    assert model.forecast(history, 0).shape == (0, 3)


def test_a_state_of_other_settings_is_refused():
    state = fitted(MODELS["lstm"]).state_dict()
    with pytest.raises(ValueError, match="expected hidden = 7, got 6"):
        LSTM(hidden=7).load_state_dict(state)
    with pytest.raises(ValueError, match="expected history = 2, got 1"):
        DMD(delays=2).load_state_dict(fitted(MODELS["dmd"]).state_dict())


@pytest.mark.parametrize(("count", "message"), [(6, "expected at least 7 .* got 6"), (7, None)])
def test_the_shortest_series_is_named(count, message):
    model = LSTM(hidden=2, training=Training(epochs=1))
    if message is None:
        assert len(model.fit(series()[:count]).loss) == 1
        return
    with pytest.raises(ValueError, match=message):
        model.fit(series()[:count])


def test_an_optimizer_that_wants_a_closure_is_refused():
    message = "must be .* that steps without a closure, such as torch.optim.Adam, got .*LBFGS"
    with pytest.raises(ValueError, match=f"training.optimizer {message}"):
        Training(optimizer="torch.optim.LBFGS")
    online = Online(model=torch.nn.Linear(1, 1), optimizer=torch.optim.LBFGS)
    with pytest.raises(ValueError, match=f"online.optimizer {message}"):
        OnlineTrainer(online, torch.device("cpu"), torch.float64)


@pytest.mark.parametrize("name", ["hidden", "layers", "history"])
def test_bad_sizes_name_their_key(name):
    with pytest.raises(ValueError, match=rf"model\.{name} must be >= 1, got 0"):
        LSTM(**{name: 0})
    with pytest.raises(ValueError, match=r"model\.delays must be >= 1, got 0"):
        DMD(delays=0)

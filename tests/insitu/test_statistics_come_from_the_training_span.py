"""Scaling is fitted inside a model's fit and nowhere else, and stays on the tensors' dtype."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from insitu.models import LSTM
from insitu.scaling import Scaler
from insitu.training import Training

KINDS = {"minmax": MinMaxScaler, "standard": StandardScaler}


def series(time=40, dtype=torch.float64):
    t = torch.linspace(0, 6, time, dtype=dtype)
    return torch.stack([3 * torch.sin(t), torch.cos(2 * t) + 5], dim=1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_what_scikit_learn_computes(kind, dtype):
    data = series(dtype=dtype)
    scaled = Scaler(kind).fit(data).transform(data)
    assert scaled.dtype == dtype
    expected = torch.from_numpy(KINDS[kind]().fit_transform(data.numpy()))
    torch.testing.assert_close(scaled, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_the_statistics_are_tensors_of_the_training_span(kind):
    scaler = Scaler(kind).fit(series()[:20])
    statistics = scaler.state_dict()["statistics"]
    expected = KINDS[kind]().fit(series()[:20].numpy())
    assert isinstance(statistics["scale_"], torch.Tensor)
    torch.testing.assert_close(statistics["scale_"], torch.from_numpy(expected.scale_))
    before = statistics["scale_"].clone()
    scaler.inverse_transform(scaler.transform(series() * 100))
    assert torch.equal(scaler.state_dict()["statistics"]["scale_"], before)


@pytest.mark.parametrize("kind", KINDS)
def test_a_models_forecast_and_score_leave_its_statistics(kind):
    model = LSTM(hidden=4, layers=1, scaler=kind, training=Training(epochs=1))
    model.fit(series()[:20])
    span = KINDS[kind]().fit(series()[:20].numpy())
    model.score(series() * 100)
    model.forecast(series()[-5:] * 100, 3)
    scale = model.state_dict()["scaler"]["statistics"]["scale_"]
    torch.testing.assert_close(scale, torch.from_numpy(span.scale_))


@pytest.mark.parametrize("kind", KINDS)
@given(
    data=arrays.arrays(
        "float64", (6, 3), elements=st.one_of(st.just(0.1), st.floats(-1e6, 1e6, width=32))
    )
)
def test_scaling_and_back_is_the_identity_also_for_constants(kind, data):
    values = torch.from_numpy(data)
    scaler = Scaler(kind).fit(values)
    scaled = scaler.transform(values)
    assert torch.isfinite(scaled).all()
    tolerance = 1e-13 * float(values.abs().max())
    back = scaler.inverse_transform(scaled)
    torch.testing.assert_close(back, values, rtol=1e-12, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_coefficient_is_shifted_only(kind):
    data = torch.full((9, 1), 0.1, dtype=torch.float32)
    scaled = Scaler(kind).fit(data).transform(data + 2)
    torch.testing.assert_close(scaled, torch.full((9, 1), 2.0))


@pytest.mark.parametrize("kind", KINDS)
def test_a_restored_scaler_is_bitwise_the_same(kind, tmp_path):
    scaler = Scaler(kind).fit(series())
    torch.save(scaler.state_dict(), tmp_path / "scaler.pt")
    again = Scaler(kind)
    again.load_state_dict(torch.load(tmp_path / "scaler.pt", weights_only=True))
    assert torch.equal(again.transform(series()), scaler.transform(series()))
    other = Scaler("standard" if kind == "minmax" else "minmax")
    with pytest.raises(ValueError, match=f'got "{kind}"'):
        other.load_state_dict(scaler.state_dict())


def test_bad_use_is_one_sentence(monkeypatch):
    with pytest.raises(ValueError, match='one of minmax, standard, got "max"'):
        Scaler("max")
    with pytest.raises(RuntimeError, match="expected fitted statistics"):
        Scaler().transform(series())
    monkeypatch.setenv("SCIPY_ARRAY_API", "0")
    with pytest.raises(RuntimeError, match="SCIPY_ARRAY_API=1.*got '0'"):
        Scaler().fit(series())


@pytest.mark.parametrize("first", ["import insitu", "import scipy.special, sklearn; import insitu"])
def test_it_dispatches_whatever_was_imported_first(first, monkeypatch):
    monkeypatch.delenv("SCIPY_ARRAY_API", raising=False)
    code = (
        f"{first}\nimport torch\nfrom insitu.scaling import Scaler\n"
        "data = torch.arange(6.0).reshape(3, 2)\n"
        "assert isinstance(Scaler('standard').fit(data).transform(data), torch.Tensor)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

"""DMD continues what a linear recurrence makes, and finds its eigenvalues."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from insitu.metrics import relative_l2
from insitu.models import DMD


def linear_series(growths, angles, time, seed=0):
    """Real series with eigenvalue pairs growth · exp(± i angle), mixed by a random map."""
    steps = torch.arange(time, dtype=torch.float64)[:, None]
    amplitudes, phases = torch.tensor(growths), steps * torch.tensor(angles)
    powers = amplitudes.double() ** steps
    states = torch.cat([powers * torch.cos(phases), powers * torch.sin(phases)], dim=1)
    generator = torch.Generator().manual_seed(seed)
    size = states.shape[1]
    mixing = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64)).Q
    return states @ mixing


@given(
    growths=st.tuples(st.floats(0.95, 1.02), st.floats(0.95, 1.02)),
    angles=st.tuples(st.floats(0.1, 0.6), st.floats(0.9, 1.5)),
    seed=st.integers(0, 100),
)
def test_the_rollout_continues_the_recurrence(growths, angles, seed):
    series = linear_series(growths, angles, 90, seed)
    model = DMD()
    model.fit(series[:40])
    assert relative_l2(model.forecast(series[39:40], 50), series[40:]) < 1e-8


@pytest.mark.parametrize("delays", [1, 2])
def test_the_eigenvalues_are_those_of_the_recurrence(delays):
    series = linear_series((0.98, 1.01), (0.3, 1.2), 60)
    model = DMD(delays)
    model.fit(series)
    found = model.eigenvalues
    assert found.shape == (4 * delays,)
    for growth, angle in ((0.98, 0.3), (1.01, 1.2)):
        expected = torch.tensor(growth * complex(math.cos(angle), math.sin(angle)))
        assert (found - expected).abs().min() < 1e-6


def test_delays_see_what_one_coefficient_hides():
    series = torch.cos(0.3 * torch.arange(80, dtype=torch.float64))[:, None]
    plain, delayed = DMD(), DMD(delays=2)
    for model in (plain, delayed):
        model.fit(series[:40])
    truth = series[40:]
    assert relative_l2(delayed.forecast(series[38:40], 40), truth) < 1e-10
    assert relative_l2(plain.forecast(series[39:40], 40), truth) > 0.5


def test_the_operator_is_the_least_squares_one():
    generator = torch.Generator().manual_seed(0)
    series = torch.randn(50, 3, generator=generator, dtype=torch.float64)
    model = DMD(delays=2)
    model.fit(series)
    embedded = torch.cat([series[:-2], series[1:-1]], dim=1)
    expected = torch.linalg.lstsq(embedded, series[2:]).solution.T
    torch.testing.assert_close(model.state_dict()["operator"], expected)


def test_the_rank_cuts_the_operator():
    series = linear_series((1.0, 0.9), (0.3, 1.2), 60)
    model = DMD(rank=2)
    model.fit(series)
    assert torch.linalg.matrix_rank(model.state_dict()["operator"]) == 2


def test_a_coefficient_that_is_zero_does_no_harm():
    series = torch.cat([linear_series((1.0,), (0.3,), 60), torch.zeros(60, 1).double()], dim=1)
    model = DMD()
    model.fit(series[:30])
    assert relative_l2(model.forecast(series[29:30], 30), series[30:]) < 1e-10

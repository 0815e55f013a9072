"""Models of coefficients take the series of many members; no window crosses them, and one member is the series itself."""

import pytest
import torch

from insitu.models import DMD, LSTM, Persistence
from insitu.models.windows import windows
from insitu.training import Training

CASES = {
    "LSTM": lambda: LSTM(hidden=4, history=3, training=Training(epochs=3)),
    "DMD": lambda: DMD(delays=2),
    "Persistence": Persistence,
}


def runs(members=4, time=12):
    """Runs of one linear recurrence from random states."""
    generator = torch.Generator().manual_seed(0)
    turn = torch.tensor([[0.8, 0.6], [-0.6, 0.8]], dtype=torch.float64)
    states = [torch.randn(members, 2, dtype=torch.float64, generator=generator)]
    for _ in range(time - 1):
        states.append(states[-1] @ turn.T)
    return torch.stack(states, dim=1), turn


def test_windows_are_those_of_each_member():
    series, _ = runs()
    seen, following = windows(series, 5)
    apart = [windows(one, 5) for one in series]
    assert torch.equal(seen, torch.cat([pair[0] for pair in apart]))
    assert torch.equal(following, torch.cat([pair[1] for pair in apart]))


@pytest.mark.parametrize("make", CASES.values(), ids=CASES)
def test_one_member_is_a_series(make):
    series, _ = runs(1)
    forecasts = []
    for given in (series, series[0]):
        model = make()
        model.fit(given)
        forecasts.append(model.forecast(series[0, : model.history], 5))
        forecasts.append(torch.tensor(model.score(given)))
    assert torch.equal(forecasts[0], forecasts[2]) and torch.equal(forecasts[1], forecasts[3])


def test_dmd_finds_the_recurrence_that_all_share():
    series, turn = runs(5, 3)
    model = DMD()
    model.fit(series)
    found = model.forecast(torch.eye(2, dtype=torch.float64)[:1], 1)
    torch.testing.assert_close(found[0], turn[:, 0], rtol=0, atol=1e-12)
    crossed = DMD()
    crossed.fit(series.flatten(0, 1))
    assert (crossed.forecast(torch.eye(2, dtype=torch.float64)[:1], 1) - found).abs().max() > 1e-2


def test_the_lstm_scales_over_all_members_and_counts_their_windows():
    series, _ = runs()
    model = LSTM(hidden=4, history=3, training=Training(epochs=1, validation=0.25))
    model.fit(series)
    statistics = model.state_dict()["scaler"]["statistics"]
    assert torch.equal(statistics["data_min_"], series.amin((0, 1)))
    assert not torch.equal(statistics["data_min_"], series[0].amin(0))

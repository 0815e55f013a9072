"""Networks that are hard to resume: they draw random numbers while they learn, and before."""

import torch
from torch import nn

from insitu.models.base import Forecaster
from insitu.training import Training, seeded, train


class Twice(Forecaster):
    """Two networks with dropout, the second for what the first leaves, of weights that the global generator draws in place."""

    history = 1

    def __init__(self, epochs: int = 4):
        self.settings = Training(epochs=epochs, batch_size=4, learning_rate=0.01, patience=3)
        self.networks = []

    def fit(self, series, progress=None):
        if not self.networks:
            self.networks = untouched([series.shape[-1]] * 2)
        for layer in (layer for each in self.networks for layer in each[::3]):
            layer.reset_parameters()
        inputs, targets = series[:-1], series[1:]
        for each in self.networks:
            record = train(each, inputs, targets, self.settings, progress)
            targets = targets - each(inputs).detach()
        return record

    def forecast(self, history, steps):
        rows = [history[-1]]
        for _ in range(steps):
            rows.append(sum(each(rows[-1]) for each in self.networks).detach())
        return torch.stack(rows[1:])

    def score(self, series):
        return 0.0

    def state_dict(self):
        return {"networks": [dict(each.state_dict()) for each in self.networks]}

    def load_state_dict(self, state):
        weights = state["networks"]
        self.networks = untouched([each["0.weight"].shape[1] for each in weights])
        for each, values in zip(self.networks, weights, strict=True):
            each.eval().load_state_dict(values)


class DroppingCore(nn.Sequential):
    """A convolution behind dropout, whose draws depend on which pairs a rank has."""

    def __init__(self, axes, inputs, outputs, is_periodic):
        super().__init__(
            nn.Dropout(0.2),
            nn.Conv1d(inputs, outputs, 3, padding=1, padding_mode="circular"),
        )


def untouched(ranks):
    """Return networks for these numbers of coefficients, with nothing drawn from the global generator."""
    with seeded(0, torch.device("cpu")):
        return [network(rank).double() for rank in ranks]


def network(rank):
    return nn.Sequential(nn.Linear(rank, 8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, rank))

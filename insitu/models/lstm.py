"""The mini-app's recurrent network: two LSTM layers and a linear map, on windows of the series."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from insitu.metrics import r2
from insitu.models.base import Forecaster
from insitu.models.windows import require_fitted, require_history, require_settings, windows
from insitu.scaling import Scaler
from insitu.training import Progress, Training, TrainingRecord, seeded, train

__all__ = ["LSTM"]


class LSTM(Forecaster):
    """Recurrent network a_{k+1} = W h_k + b, with h_k the LSTM's state after a window.

    Each window of `history` scaled states is read from a zero hidden state, so a forecast depends
    on the window alone. The scaler's statistics come from the series given to `fit`.

    Parameters
    ----------
    hidden
        Width of each LSTM layer.
    layers
        Number of LSTM layers.
    history
        States in a window.
    scaler
        "minmax" or "standard".
    training
        Settings of the training loop.

    Raises
    ------
    ValueError
        A size is below 1 or the scaler is unknown.

    Notes
    -----
    Source: Hochreiter & Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735; as a model of POD
    coefficients Maulik, Lusch & Balaprakash 2021, doi:10.1063/5.0039986.
    """

    def __init__(
        self,
        hidden: int = 50,
        layers: int = 2,
        history: int = 5,
        scaler: str = "minmax",
        training: Training = Training(),  # noqa: B008
    ) -> None:
        for name, value in (("hidden", hidden), ("layers", layers), ("history", history)):
            if value < 1:
                raise ValueError(f"model.{name} must be >= 1, got {value}; correct the case")
        self.hidden = hidden
        self.layers = layers
        self.history = history
        self.training = training
        self._scaler = Scaler(scaler)
        self._network: _Network | None = None

    def fit(
        self, series: Float[Tensor, "*members time rank"], progress: Progress | None = None
    ) -> TrainingRecord:
        """Train on every window of `series` ([members,] time, rank), on its device and in its dtype.

        Of several members the last ones are held out for validation.
        `progress` is called as progress(epoch, record) after each epoch.

        Raises
        ------
        ValueError
            The series is too short or not finite.
        TrainingError
            The loss is not finite.
        """
        series = series.detach()
        windows(series, self.history, pairs=2 if self.training.validation else 1)
        self._scaler.fit(series.flatten(0, -2))
        inputs, targets = windows(self._scaled(series), self.history)
        with seeded(self.training.seed, series.device):
            network = self._build(series.shape[-1])
        self._network = network.to(series.device, series.dtype)
        return train(self._network, inputs.contiguous(), targets, self.training, progress)

    @torch.no_grad()
    def forecast(
        self, history: Float[Tensor, "history rank"], steps: int
    ) -> Float[Tensor, "{steps} rank"]:
        """Roll the network out, feeding its output back into the window.

        Parameters
        ----------
        history
            (history, rank), the states before the forecast, oldest first.
        steps
            Number of states to forecast.

        Returns
        -------
        Tensor
            (steps, rank), same unit, dtype and device as `history`.

        Raises
        ------
        ValueError
            The history has another shape than (history, rank) or `steps` is negative.
        RuntimeError
            The model is not fitted.
        """
        network = require_fitted(self, self._network)
        require_history(history, (self.history, network.rank), steps)
        rollout = history.new_empty(self.history + steps, network.rank)
        rollout[: self.history] = self._scaler.transform(history)
        for step in range(steps):
            window = rollout[None, step : step + self.history]
            rollout[step + self.history] = network(window)[0]
        if steps == 0:
            return rollout[self.history :]
        return self._scaler.inverse_transform(rollout[self.history :])

    @torch.no_grad()
    def score(self, series: Float[Tensor, "*members time rank"]) -> float:
        """One-step R² over `series` ([members,] time, rank).

        Raises
        ------
        ValueError
            The series has fewer than history + 1 states.
        RuntimeError
            The model is not fitted.
        """
        network = require_fitted(self, self._network)
        _, following = windows(series, self.history)
        inputs, _ = windows(self._scaled(series), self.history)
        return float(r2(self._scaler.inverse_transform(network(inputs)), following))

    def state_dict(self) -> dict[str, Any]:
        """Return the weights, the scaler's statistics and the sizes."""
        network = require_fitted(self, self._network)
        return {
            "hidden": self.hidden,
            "layers": self.layers,
            "history": self.history,
            "rank": network.rank,
            "network": dict(network.state_dict()),
            "scaler": self._scaler.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over weights and statistics, on the device and in the dtype of the state's tensors.

        Raises
        ------
        ValueError
            The state belongs to other sizes or another scaler.
        """
        require_settings(state, hidden=self.hidden, layers=self.layers, history=self.history)
        self._scaler.load_state_dict(state["scaler"])
        weights = state["network"]
        sample = next(iter(weights.values()))
        with seeded(self.training.seed, sample.device):
            network = self._build(state["rank"]).to(sample.device, sample.dtype)
        network.load_state_dict(weights)
        self._network = network.eval()

    def _scaled(self, series: Tensor) -> Tensor:
        return self._scaler.transform(series.flatten(0, -2)).reshape(series.shape)

    def _build(self, rank: int) -> "_Network":
        return _Network(rank, self.hidden, self.layers)


class _Network(nn.Module):
    def __init__(self, rank: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.rank = rank
        self.recurrent = nn.LSTM(rank, hidden, layers, batch_first=True)
        self.linear = nn.Linear(hidden, rank)

    def forward(self, window: Float[Tensor, "batch history rank"]) -> Float[Tensor, "batch rank"]:
        states, _ = self.recurrent(window)
        return self.linear(states[:, -1])

"""Freeze the last state: the baseline of every report."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor

from insitu.metrics import r2
from insitu.models.base import Forecaster
from insitu.models.windows import require_fitted, require_history, require_settings, windows
from insitu.training import Progress

__all__ = ["Persistence"]


class Persistence(Forecaster):
    """Forecast a(t_{k+1}) = a(t_k)."""

    def __init__(self) -> None:
        self.history = 1
        self._rank: int | None = None

    def fit(
        self, series: Float[Tensor, "*members time rank"], progress: Progress | None = None
    ) -> None:
        """Note the rank of `series` ([members,] time, rank); nothing is learnt, `progress` is not called.

        Raises
        ------
        ValueError
            The series is empty.
        """
        windows(series, self.history, pairs=0)
        self._rank = series.shape[-1]

    def forecast(
        self, history: Float[Tensor, "history rank"], steps: int
    ) -> Float[Tensor, "{steps} rank"]:
        """Repeat the last row of `history` (1, rank); shape (steps, rank), same unit and device.

        Raises
        ------
        ValueError
            The history has another shape than (1, rank) or `steps` is negative.
        RuntimeError
            The model is not fitted.
        """
        rank = require_fitted(self, self._rank)
        require_history(history, (self.history, rank), steps)
        return history[-1].repeat(steps, 1)

    def score(self, series: Float[Tensor, "*members time rank"]) -> float:
        """One-step R² over `series` ([members,] time, rank).

        Raises
        ------
        ValueError
            The series has fewer than two states.
        """
        previous, following = windows(series, self.history)
        return float(r2(previous[:, -1], following))

    def state_dict(self) -> dict[str, Any]:
        """Return the rank."""
        return {"history": self.history, "rank": require_fitted(self, self._rank)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the rank.

        Raises
        ------
        ValueError
            The state belongs to another model.
        """
        require_settings(state, history=self.history)
        self._rank = state["rank"]

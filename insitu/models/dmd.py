"""Dynamic mode decomposition of the coefficients, with delays where asked for."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from insitu.metrics import r2
from insitu.models.base import Forecaster
from insitu.models.windows import require_fitted, require_history, require_settings, windows
from insitu.training import Progress

__all__ = ["DMD"]


class DMD(Forecaster):
    """Linear model a_{k+1} = A [a_{k−d+1}; …; a_k], A = Y X⁺, with d delays.

    X holds the delay-embedded states as columns and Y the states after them; X⁺ is the
    pseudoinverse of X truncated to `rank` singular triplets, which makes A the least-squares
    operator of exact DMD. With delays only the block row of the newest state is fitted: the others
    are the shift, known exactly.

    Parameters
    ----------
    delays
        States d in the embedding; 1 is plain DMD.
    rank
        Singular triplets of X that are kept; None keeps those above round-off.

    Raises
    ------
    ValueError
        `delays` or `rank` is below 1.

    Notes
    -----
    Source: Tu, Rowley, Luchtenburg, Brunton & Kutz 2014, definition 1, doi:10.3934/jcd.2014.1.391.
    """

    def __init__(self, delays: int = 1, rank: int | None = None) -> None:
        for name, value in (("delays", delays), ("rank", rank)):
            if value is not None and value < 1:
                raise ValueError(f"model.{name} must be >= 1, got {value}; correct the case")
        self.history = delays
        self.rank = rank
        self._operator: Tensor | None = None

    def fit(
        self, series: Float[Tensor, "*members time rank"], progress: Progress | None = None
    ) -> None:
        """Fit A to `series` ([members,] time, rank) by least squares; `progress` is not called.

        Raises
        ------
        ValueError
            The series has fewer than delays + 1 states.
        """
        states, following = windows(series, self.history)
        u, sigma, vh = torch.linalg.svd(states.flatten(start_dim=1), full_matrices=False)
        noise = torch.finfo(sigma.dtype).eps * max(len(u), vh.shape[1])
        kept = sigma > noise * sigma[0]
        if self.rank is not None:
            kept[self.rank :] = False
        inverse = torch.where(kept, 1 / sigma, torch.zeros_like(sigma))
        self._operator = (following.T @ (u * inverse)) @ vh

    def forecast(
        self, history: Float[Tensor, "history rank"], steps: int
    ) -> Float[Tensor, "{steps} rank"]:
        """Apply A `steps` times, feeding its output back.

        Parameters
        ----------
        history
            (delays, rank), the states before the forecast, oldest first.
        steps
            Number of states to forecast.

        Returns
        -------
        Tensor
            (steps, rank), same unit, dtype and device as `history`.

        Raises
        ------
        ValueError
            The history has another shape than (delays, rank) or `steps` is negative.
        RuntimeError
            The model is not fitted.
        """
        operator = require_fitted(self, self._operator)
        rank = len(operator)
        require_history(history, (self.history, rank), steps)
        rollout = history.new_empty(self.history + steps, rank)
        rollout[: self.history] = history
        for step in range(steps):
            window = rollout[step : step + self.history].flatten()
            torch.mv(operator, window, out=rollout[step + self.history])
        return rollout[self.history :]

    def score(self, series: Float[Tensor, "*members time rank"]) -> float:
        """One-step R² over `series` ([members,] time, rank).

        Raises
        ------
        ValueError
            The series has fewer than delays + 1 states.
        RuntimeError
            The model is not fitted.
        """
        states, following = windows(series, self.history)
        return float(
            r2(states.flatten(start_dim=1) @ require_fitted(self, self._operator).T, following)
        )

    @property
    def eigenvalues(self) -> Complex[Tensor, " modes"]:
        """Eigenvalues of one step of the embedded state, (delays · rank,); |λ| > 1 grows.

        Raises
        ------
        RuntimeError
            The model is not fitted.
        """
        operator = require_fitted(self, self._operator)
        rank, size = operator.shape
        shift = torch.eye(size, dtype=operator.dtype, device=operator.device)[rank:]
        return torch.linalg.eigvals(torch.cat([shift, operator]))

    def state_dict(self) -> dict[str, Any]:
        """Return A (rank, delays · rank) and the settings."""
        return {
            "history": self.history,
            "rank": self.rank,
            "operator": require_fitted(self, self._operator),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over A, on its own device.

        Raises
        ------
        ValueError
            The state belongs to other delays or another rank.
        """
        require_settings(state, history=self.history, rank=self.rank)
        self._operator = state["operator"]

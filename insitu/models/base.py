"""What every model of the POD coefficients offers."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor

from insitu.training import Progress, TrainingRecord

__all__ = ["Forecaster"]


class Forecaster(ABC):
    """A model of the series of POD coefficients a(t_k), k = 0, 1, ..., at equal time intervals.

    Series are (time, rank) tensors of one dtype on one device, in the unit of the field; results
    come back on that device. A case names a model by its class path. On several ranks rank 0 fits
    and forecasts, and the others take over its state and its forecasts: a model knows no ranks.

    Attributes
    ----------
    history
        Number of states that a forecast starts from.
    """

    history: int

    @abstractmethod
    def fit(
        self, series: Float[Tensor, "*members time rank"], progress: Progress | None = None
    ) -> TrainingRecord | None:
        """Learn from `series` (time, rank), the training span and nothing else; or from several, (members, time, rank).

        An iterative training calls progress(epoch, record) after each epoch; handed to `insitu.training.train` as it is, it
        also lets a stopped run go on in the midst of the fit.

        Returns
        -------
        TrainingRecord or None
            The losses of an iterative training, None where there is none.

        Raises
        ------
        ValueError
            The series is too short for the model.
        """

    @abstractmethod
    def forecast(
        self, history: Float[Tensor, "history rank"], steps: int
    ) -> Float[Tensor, "{steps} rank"]:
        """Roll out freely: each state follows from the given history and the model's own output.

        Parameters
        ----------
        history
            (history, rank), the states before the forecast, oldest first.
        steps
            Number of states to forecast.

        Returns
        -------
        Tensor
            (steps, rank); row 0 is one interval after the last row of `history`.

        Raises
        ------
        ValueError
            The history has another shape than (history, rank) or `steps` is negative.
        RuntimeError
            The model is not fitted.
        """

    @abstractmethod
    def score(self, series: Float[Tensor, "*members time rank"]) -> float:
        """One-step R² over `series` ([members,] time, rank): each state predicted from the true ones before.

        A value near 1 says little about a free rollout.

        Raises
        ------
        ValueError
            The series is too short for the model.
        RuntimeError
            The model is not fitted.
        """

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return all that a forecast needs as tensors and plain values, for `torch.save`."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned, on the device of its tensors.

        Raises
        ------
        ValueError
            The state belongs to a model of other settings.
        """

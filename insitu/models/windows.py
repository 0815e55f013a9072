"""Windows of a series, and the checks of data on their way into a model."""

from collections.abc import Mapping
from typing import Any, TypeVar

from jaxtyping import Float
from torch import Tensor

__all__ = ["require_fitted", "require_history", "require_settings", "windows"]

Fitted = TypeVar("Fitted")


def windows(
    series: Float[Tensor, "*members time rank"], history: int, pairs: int = 1
) -> tuple[Float[Tensor, "pairs history rank"], Float[Tensor, "pairs rank"]]:
    """Cut a series into pairs of a window and the state after it; of one series both are views.

    Parameters
    ----------
    series
        (time, rank), or (members, time, rank) for several of them; no window crosses members.
    history
        States in each window.
    pairs
        Smallest number of pairs that is accepted.

    Returns
    -------
    tuple of Tensor
        Windows (members · (time − history), history, rank), oldest state first, and targets
        (members · (time − history), rank), one member after the other.

    Raises
    ------
    ValueError
        The series has fewer than history + pairs states.
    """
    if series.shape[-2] < history + pairs:
        raise ValueError(
            f"series: expected at least {history + pairs} snapshots with model history = "
            f"{history}, got {series.shape[-2]}; sample more snapshots or shorten the history"
        )
    seen = series.unfold(-2, history, 1)[..., :-1, :, :].transpose(-2, -1)
    following = series[..., history:, :]
    return (
        (seen, following) if series.ndim == 2 else (seen.flatten(0, -3), following.flatten(0, -2))
    )


def require_history(history: Tensor, expected: tuple[int, int], steps: int) -> None:
    """Check the arguments of a forecast.

    Parameters
    ----------
    history
        The states before the forecast.
    expected
        (history, rank) of the model.
    steps
        Number of states to forecast.

    Raises
    ------
    ValueError
        The shape differs or `steps` is negative.
    """
    if tuple(history.shape) != expected:
        raise ValueError(
            f"forecast: expected a history of shape {expected}, got {tuple(history.shape)}; give "
            f"the last {expected[0]} states of {expected[1]} coefficients"
        )
    if steps < 0:
        raise ValueError(f"forecast: expected steps >= 0, got {steps}; ask for 0 steps or more")


def require_settings(state: Mapping[str, Any], **settings: Any) -> None:
    """Check that a saved state belongs to a model of these settings.

    Raises
    ------
    ValueError
        A setting differs or is absent.
    """
    for name, value in settings.items():
        if state.get(name) != value:
            raise ValueError(
                f"model state: expected {name} = {value!r}, got {state.get(name)!r}; construct "
                "the model with the settings of the run that saved it"
            )


def require_fitted(model: object, part: Fitted | None) -> Fitted:
    """Return what the fit of `model` made, or refuse where there was no fit.

    Raises
    ------
    RuntimeError
        `part` is None.
    """
    if part is None:
        raise RuntimeError(
            f"{type(model).__name__}: expected a fitted model, got a fresh one; call fit or "
            "load_state_dict first"
        )
    return part

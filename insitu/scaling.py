"""Scaling of coefficients with scikit-learn, on the tensors' own device."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import sklearn
from jaxtyping import Float
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from torch import Tensor

__all__ = ["Scaler"]

_ESTIMATORS: dict[str, Callable[[], Any]] = {"minmax": MinMaxScaler, "standard": StandardScaler}


class Scaler:
    """Map each coefficient affinely to a common range: z = (x − shift) · factor.

    "minmax" maps the fitted span to [0, 1], "standard" to mean 0 and variance 1; a coefficient
    that is constant in the fitted span is shifted only. scikit-learn computes through its
    array-API dispatch, so tensors keep their device and dtype and the statistics are tensors of
    the same device. A model calls `fit` inside its own `fit`, with the training span and nothing
    else.

    Parameters
    ----------
    kind
        "minmax" or "standard".

    Raises
    ------
    ValueError
        The kind is unknown.

    Notes
    -----
    Source: scikit-learn user guide, "Array API support".
    """

    def __init__(self, kind: str = "minmax") -> None:
        if kind not in _ESTIMATORS:
            raise ValueError(
                f'scaler must be one of {", ".join(_ESTIMATORS)}, got "{kind}"; name one of these'
            )
        self.kind = kind
        self._estimator = _ESTIMATORS[kind]()

    def fit(self, series: Float[Tensor, "time rank"]) -> "Scaler":
        """Take the statistics of each coefficient from `series` (time, rank).

        Raises
        ------
        RuntimeError
            scikit-learn refuses to dispatch because SCIPY_ARRAY_API is not 1.
        """
        self._dispatch("fit", series)
        return self

    def transform(self, series: Float[Tensor, "time rank"]) -> Float[Tensor, "time rank"]:
        """Scale `series` (time, rank); a new tensor, dimensionless, on the same device.

        Raises
        ------
        RuntimeError
            The scaler is not fitted, or scikit-learn refuses to dispatch.
        """
        self._require_fitted()
        return self._dispatch("transform", series)

    def inverse_transform(self, series: Float[Tensor, "time rank"]) -> Float[Tensor, "time rank"]:
        """Undo `transform`: scaled `series` (time, rank) back to the unit of the fitted data.

        Raises
        ------
        RuntimeError
            The scaler is not fitted, or scikit-learn refuses to dispatch.
        """
        self._require_fitted()
        return self._dispatch("inverse_transform", series)

    def state_dict(self) -> dict[str, Any]:
        """Return the kind and the fitted statistics as tensors and plain numbers."""
        fitted = {key: value for key, value in vars(self._estimator).items() if key.endswith("_")}
        return {"kind": self.kind, "statistics": fitted}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned; the tensors are shared, not copied.

        Raises
        ------
        ValueError
            The state belongs to the other kind.
        """
        if state["kind"] != self.kind:
            raise ValueError(
                f'scaler state: expected kind "{self.kind}", got "{state["kind"]}"; '
                f'construct Scaler("{state["kind"]}")'
            )
        self._estimator = _ESTIMATORS[self.kind]()
        vars(self._estimator).update(state["statistics"])

    def _dispatch(self, method: str, series: Tensor) -> Any:
        if os.environ.get("SCIPY_ARRAY_API") != "1":
            raise RuntimeError(
                "scaling on the device expected SCIPY_ARRAY_API=1 when SciPy was imported, got "
                f"{os.environ.get('SCIPY_ARRAY_API')!r}; set it before starting Python"
            )
        with sklearn.config_context(array_api_dispatch=True):
            return getattr(self._estimator, method)(series)

    def _require_fitted(self) -> None:
        if not hasattr(self._estimator, "scale_"):
            raise RuntimeError(
                "scaler: expected fitted statistics, got none; call fit or load_state_dict first"
            )

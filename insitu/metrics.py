"""Error measures of a prediction against the truth; every result stays on the tensors' device.

With a communicator each rank holds some of the columns, of all rows. A value over all entries is
then one over the columns of all ranks, a call that they make together, and has the same bits
everywhere; values of each column need no other rank.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from insitu.collectives import size_of, total

__all__ = ["r2", "relative_l2", "rmse"]


def relative_l2(
    prediction: Float[Tensor, "time rank"],
    truth: Float[Tensor, "time rank"],
    *,
    per_mode: bool = False,
    comm: Any = None,
) -> Float[Tensor, "*modes"]:
    """Relative error ‖prediction − truth‖₂ / ‖truth‖₂.

    Parameters
    ----------
    prediction, truth
        (time, rank), same unit, dtype and device; the columns of this rank.
    per_mode
        One value for each column instead of one over all entries.
    comm : mpi4py.MPI.Comm, optional
        The ranks that share the columns. None: this one has all.

    Returns
    -------
    Tensor
        Dimensionless, shape () or (rank,); 0 where the error vanishes, ∞ where only the truth does.

    Raises
    ------
    ValueError
        The shapes differ.
    """
    _require_same_shape("relative_l2", prediction, truth)
    error, norm = (_norm(values, per_mode, comm) for values in (prediction - truth, truth))
    return torch.where(error == 0, torch.zeros_like(error), error / norm)


def rmse(
    prediction: Float[Tensor, "time rank"],
    truth: Float[Tensor, "time rank"],
    *,
    per_mode: bool = False,
    comm: Any = None,
) -> Float[Tensor, "*modes"]:
    """Root-mean-square error √(Σ(prediction − truth)² / n), in the unit of the truth.

    Parameters
    ----------
    prediction, truth
        (time, rank), same unit, dtype and device; the columns of this rank.
    per_mode
        One value for each column instead of one over all entries.
    comm : mpi4py.MPI.Comm, optional
        The ranks that share the columns. None: this one has all.

    Returns
    -------
    Tensor
        Shape () or (rank,).

    Raises
    ------
    ValueError
        The shapes differ.
    """
    _require_same_shape("rmse", prediction, truth)
    columns = 1 if per_mode else int(total(comm, torch.tensor(truth.shape[1])))
    return _norm(prediction - truth, per_mode, comm) / (len(truth) * columns) ** 0.5


def r2(
    prediction: Float[Tensor, "time rank"],
    truth: Float[Tensor, "time rank"],
    *,
    per_mode: bool = False,
    comm: Any = None,
) -> Float[Tensor, "*modes"]:
    """Coefficient of determination R² = 1 − Σ(truth − prediction)² / Σ(truth − ⟨truth⟩)².

    The mean ⟨·⟩ is taken over time for each mode; the value over all modes divides the summed
    squares, so a mode counts by its variance. A constant truth gives 1 when it is met exactly
    and 0 otherwise.

    Parameters
    ----------
    prediction, truth
        (time, rank), same unit, dtype and device; the columns of this rank.
    per_mode
        One value for each column instead of one over all entries.
    comm : mpi4py.MPI.Comm, optional
        The ranks that share the columns. None: this one has all.

    Returns
    -------
    Tensor
        Dimensionless, shape () or (rank,).

    Raises
    ------
    ValueError
        The shapes differ.
    """
    _require_same_shape("r2", prediction, truth)
    residual = _norm(prediction - truth, per_mode, comm) ** 2
    spread = _norm(truth - truth.mean(dim=0), per_mode, comm) ** 2
    undefined = torch.where(residual == 0, torch.ones_like(residual), torch.zeros_like(residual))
    return torch.where(spread == 0, undefined, 1 - residual / spread)


def _norm(values: Float[Tensor, "time rank"], per_mode: bool, comm: Any) -> Float[Tensor, "*modes"]:
    if per_mode:
        return torch.linalg.vector_norm(values, dim=0)
    norm = torch.linalg.vector_norm(values)
    return norm if size_of(comm) == 1 else total(comm, norm.square()).sqrt()


def _require_same_shape(name: str, prediction: Tensor, truth: Tensor) -> None:
    if prediction.shape != truth.shape:
        raise ValueError(
            f"{name}: expected prediction and truth of one shape, got {tuple(prediction.shape)} "
            f"and {tuple(truth.shape)}; forecast as many steps as the truth has"
        )

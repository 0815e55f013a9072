"""One split of the snapshots: fit basis and models on what they may see, let them roll out freely over the rest, compare."""

import contextlib
import copy
import functools
import itertools
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from insitu.collectives import on_first, size_of
from insitu.lessons import Lessons
from insitu.metrics import relative_l2
from insitu.models import Forecaster
from insitu.reduction import POD
from insitu.timing import Ledger
from insitu.training import Progress, TrainingRecord

__all__ = ["Forecast", "SplitResult", "evaluate_split", "fit"]


@dataclass
class Forecast:
    """A model's free rollout over the forecast span; every rank has the same.

    Attributes
    ----------
    coefficients
        (steps, rank), on the device.
    coefficient_error, field_error
        rel-L2 against the true coefficients and the true snapshots over the whole span.
    one_step_r2
        R² of one-step predictions over the span; near 1 it says little about the rollout.
    training
        Losses, for models that are trained iteratively.
    """

    model: Forecaster
    coefficients: Tensor
    coefficient_error: float
    field_error: float
    one_step_r2: float
    training: TrainingRecord | None


@dataclass
class SplitResult:
    """Basis, true coefficients and forecasts of one split; but for the modes and the mean, every rank has the same.

    Attributes
    ----------
    basis
        Each rank has the modes and the mean of its own block of the field.
    coefficients
        (snapshots, rank), all snapshots in the basis.
    train
        Number of leading snapshots that models were trained on.
    projection_error
        rel-L2 of the forecast span's snapshots against their own projection: no model of these coefficients can be better.
    """

    basis: POD
    coefficients: Tensor
    train: int
    projection_error: float
    forecasts: dict[str, Forecast]


def evaluate_split(
    split: str,
    snapshots: Float[Tensor, "time dof"],
    train: int,
    reduction: POD,
    models: Sequence[Forecaster],
    ledger: Ledger,
    progress: Progress | None = None,
    comm: Any = None,
    lessons: Lessons | None = None,
) -> SplitResult:
    """Fit copies of the reduction and of each model, and forecast from ``train`` on.

    Parameters
    ----------
    split
        "published": the basis sees all snapshots; "causal": only the first ``train``. Models see the first ``train`` either way.
    snapshots
        (time, dof), at equal intervals, on any device; on several ranks the block of each, all of the same times.
    train
        Snapshots of the training span.
    reduction, models
        Settings; left as they are. A reduction with ``partial_fit`` goes on from the snapshots that it has seen before these.
    ledger
        Takes the time of the stages "reduction", "training" and "rollout".
    progress
        Called after each epoch of an iterative training, on rank 0.
    comm : mpi4py.MPI.Comm, optional
        The ranks that share the field; all of them call this. None: this one has all of it.
    lessons
        Fits that need not be done again, or go on in their midst.

    Raises
    ------
    ValueError
        Too few snapshots for a model's history and training.
    """
    with ledger.stage("reduction"):
        seen = snapshots if split == "published" else snapshots[:train]
        basis = copy.copy(reduction)
        getattr(basis, "partial_fit", basis.fit)(seen, comm=comm)
        coefficients = basis.transform(snapshots)
        floor = basis.field_error(coefficients[train:], snapshots[train:])
    result = SplitResult(basis, coefficients, train, floor, {})
    lessons = Lessons() if lessons is None else lessons
    with _one_thread():
        for number, model in enumerate(models):
            fitted, name = copy.deepcopy(model), f"{split} {number}"
            with ledger.stage("training"):
                record = lessons.learn(
                    name,
                    fitted,
                    functools.partial(fit, fitted, coefficients[:train], comm=comm),
                    coefficients.device,
                    progress,
                    is_alone=size_of(comm) > 1,
                )
            with ledger.stage("rollout"):
                result.forecasts[_unused_name(model, result.forecasts)] = _forecast(
                    fitted, result, snapshots[train:], record, comm
                )
    return result


def fit(
    model: Forecaster,
    series: Float[Tensor, "time rank"],
    progress: Progress | None = None,
    comm: Any = None,
) -> TrainingRecord | None:
    """Fit a model of the coefficients on rank 0 and give its state to all ranks.

    All ranks hold the same few coefficients, so there is nothing to share out; a fit on each of them would take as long and
    end in other weights wherever processors round differently. One fit is the same everywhere by construction.

    Parameters
    ----------
    model
        The model of this rank, of the same settings on all; fitted in place.
    series
        (time, rank), the same on every rank, on any device.
    progress
        Called after each epoch of an iterative training, on rank 0.
    comm : mpi4py.MPI.Comm, optional
        All its ranks call this.

    Returns
    -------
    TrainingRecord or None
        What the fit returned, on every rank.

    Raises
    ------
    Exception
        Whatever the fit raises, on every rank.
    """

    def learn() -> tuple[TrainingRecord | None, dict[str, Any]]:
        return model.fit(series, progress), model.state_dict()

    record, state = on_first(comm, learn, series.device)
    if comm is not None and comm.rank > 0:
        model.load_state_dict(state)
    return record


def _unused_name(model: Forecaster, taken: Container[str]) -> str:
    """Return the name a model goes by in reports and figures: its class, numbered from the second of a class on."""
    name = type(model).__name__
    numbered = (f"{name} {n}" for n in itertools.count(2))
    return name if name not in taken else next(other for other in numbered if other not in taken)


def _forecast(
    model: Forecaster,
    split: SplitResult,
    truth: Float[Tensor, "time dof"],
    record: TrainingRecord | None,
    comm: Any,
) -> Forecast:
    known = split.coefficients[split.train - model.history :]

    def roll_out() -> tuple[Tensor, float]:
        return model.forecast(known[: model.history], len(truth)), model.score(known)

    rollout, one_step_r2 = on_first(comm, roll_out, known.device)
    return Forecast(
        model=model,
        coefficients=rollout,
        coefficient_error=relative_l2(rollout, split.coefficients[split.train :]).item(),
        field_error=split.basis.field_error(rollout, truth),
        one_step_r2=one_step_r2,
        training=record,
    )


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch on one CPU thread: operations on a few coefficients are slower on several, much slower on busy cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)

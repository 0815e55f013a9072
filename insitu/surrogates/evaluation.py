"""Surrogates of a finished run, trained on a part of it, judged on the rest of its time and on members never seen."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from insitu.lessons import Lessons
from insitu.metrics import relative_l2
from insitu.parallel import Share
from insitu.surrogates.base import Surrogate
from insitu.surrogates.fitting import Trajectories, fit
from insitu.training import Progress, Training, TrainingRecord, seeded

__all__ = ["Core", "SurrogateForecast", "Surrogates", "evaluate_surrogates"]

Core = Callable[[int, int, int, Sequence[bool]], nn.Module]  # axes, inputs, outputs, is_periodic


@dataclass(frozen=True)
class Surrogates:
    """Models of the whole state that are trained after the run.

    Parameters
    ----------
    cores
        Networks by class path, as insitu.surrogates.ResidualCNN, with settings beyond those of the grid and the equation.
    unseen
        Every so many-th member of an ensemble is kept from all training; a run without an ensemble has none.
    steps
        Length of the rollouts in the loss.
    training
        Settings of the training loop; its validation is a fraction of the members that are trained on.
    """

    cores: list[Core]
    unseen: int = 4
    steps: int = 1
    training: Training = field(default_factory=lambda: Training(epochs=50, final_rate=0.01))

    def __post_init__(self) -> None:
        for name, value, least in (("unseen", self.unseen, 2), ("steps", self.steps, 1)):
            if value < least:
                raise ValueError(
                    f"learning.surrogates.{name} must be >= {least}, got {value}; correct it"
                )


@dataclass
class SurrogateForecast:
    """A surrogate and what it forecasts; errors are the same on every rank.

    Attributes
    ----------
    field_error, persistence_error
        rel-L2 over the forecast span of all members, from the last state of the training span; the same of a state that stays.
    unseen_error, unseen_persistence_error
        rel-L2 over the members that were never seen, from their first state to the end; None where there are none.
    """

    surrogate: Surrogate
    field_error: float
    persistence_error: float
    unseen_error: float | None
    unseen_persistence_error: float | None
    training: TrainingRecord


def evaluate_surrogates(
    settings: Surrogates,
    runs: Trajectories,
    train: int,
    is_periodic: Sequence[bool],
    interval: float,
    progress: Progress | None = None,
    comm: Any = None,
    lessons: Lessons | None = None,
) -> dict[str, SurrogateForecast]:
    """Train each core on the first times of the members that may be seen, and let it roll out freely.

    Parameters
    ----------
    settings : Surrogates
    runs : Trajectories
        The members of this rank, whole.
    train : int
        Times of the training span.
    is_periodic : sequence of bool
        Of each axis.
    interval : float
        Between two states.
    progress : callable, optional
        Called as progress(epoch, record) after each epoch of a training.
    comm : mpi4py.MPI.Comm, optional
        The ranks that share the members; all of them call this. None: this one has all.
    lessons : Lessons, optional
        Fits that need not be done again, or go on in their midst.

    Returns
    -------
    dict of str to SurrogateForecast
        By the class of the core, numbered from the second of a class on.

    Raises
    ------
    ValueError
        There are too few times or members, or a rank has none that may be seen.
    """
    share = Share.of(comm, len(runs))
    numbers = torch.arange(share.first, share.first + share.count)
    is_unseen = numbers % settings.unseen == settings.unseen // 2
    is_unseen &= share.total > 1
    seen, unseen = (runs.of(chosen.nonzero()[:, 0].tolist()) for chosen in (~is_unseen, is_unseen))
    found: dict[str, SurrogateForecast] = {}
    span = Trajectories(seen.states[:, :train], seen.parameters)
    lessons = Lessons() if lessons is None else lessons
    for number, core in enumerate(settings.cores):
        surrogate = _made(core, runs, is_periodic, interval, settings.training.seed)
        learn = functools.partial(
            fit, surrogate, span, settings.training, settings.steps, comm=comm
        )
        record = lessons.learn(
            f"surrogate {number}", surrogate, learn, runs.states.device, progress
        )
        surrogate.eval()
        error, still = _errors(surrogate, runs, train - 1, comm)
        result = SurrogateForecast(surrogate, error, still, None, None, record)
        if share.total > max(1, settings.unseen // 2):
            result.unseen_error, result.unseen_persistence_error = _errors(
                surrogate, unseen, 0, comm
            )
        name = type(surrogate.core).__name__
        same = sum(key.split()[0] == name for key in found)
        found[f"{name} {same + 1}" if same else name] = result
    return found


def _made(
    core: Core, runs: Trajectories, is_periodic: Sequence[bool], interval: float, seed: int
) -> Surrogate:
    components, axes = runs.states.shape[2], runs.states.ndim - 3
    parameters = 0 if runs.parameters is None else runs.parameters.shape[1]
    with seeded(seed, runs.states.device):
        made = core(axes, components + parameters, components, tuple(is_periodic))
    return Surrogate(
        made.to(runs.states.device, runs.states.dtype), components, parameters, interval
    )


@torch.no_grad()
def _errors(surrogate: Surrogate, runs: Trajectories, start: int, comm: Any) -> tuple[float, float]:
    """Return the errors of the rollout from one time to the end, and of the state that stays, over members of all ranks."""
    truth = runs.states[:, start + 1 :]
    still = runs.states[:, start : start + 1].expand_as(truth)
    rollout = truth
    if len(runs):
        rollout = surrogate.rollout(runs.states[:, start], truth.shape[1], runs.parameters)
    error, of_still = (
        relative_l2(_rows(other), _rows(truth), comm=comm).item() for other in (rollout, still)
    )
    return error, of_still


def _rows(states: Float[Tensor, "members times ..."]) -> Float[Tensor, "times values"]:
    return states.movedim(1, 0).flatten(1)

"""One training loop for every network: batches, loss, early stop, seeds; no model knowledge."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from insitu.collectives import on_first, together, total
from insitu.parallel import Share, replica
from insitu.training.course import Course, Progress, TrainingRecord, Watch
from insitu.training.seeds import seeded
from insitu.training.settings import Training, optimizer_class

__all__ = ["TrainingError", "train"]


class TrainingError(RuntimeError):
    """The loss is no longer a finite number."""


def train(
    module: nn.Module,
    inputs: Float[Tensor, "pairs ..."],
    targets: Float[Tensor, "pairs ..."],
    settings: Training,
    progress: Progress | None = None,
    comm: Any = None,
    held_out: int | None = None,
) -> TrainingRecord:
    """Fit `module` to the pairs by stochastic gradient descent on ⟨(module(x) − y)²⟩.

    Pairs are in order of time; the last part of them is held out for validation. The loss stays
    on the device and is read once for each epoch. Equal seeds give bitwise equal weights on CPU,
    and the global random state outside is left as it was. On return the module holds the weights
    of the best epoch and is in evaluation mode.

    On several ranks the training set is what all of them hold, in order of rank. Batches are drawn
    from the whole of it, each rank computes its own part of every batch, and gradients and losses
    are summed: apart from round-off the result is that of one rank with all pairs, however unequal
    the shares. All ranks begin with the weights of rank 0 and end with the same bits. A module that
    draws random numbers, as dropout does, draws others where the pairs are spread otherwise.

    Parameters
    ----------
    module
        Network on the device and of the dtype of the pairs; changed in place.
    inputs
        (pairs, ...), in order of time, dimensionless, on any device; the pairs of this rank.
    targets
        (pairs, ...), as `inputs`.
    settings
        Epochs, batches, optimizer, seed; the same on every rank.
    progress
        Called as progress(epoch, record) after each epoch, on every rank. Handed on by a model's `fit` as it was given, it is
        also how a run goes on in the midst of this training, see `Watch`.
    comm : mpi4py.MPI.Comm, optional
        The ranks that share the pairs; all of them call this. None: this one has all.
    held_out : int, optional
        Pairs for validation, the last ones of all ranks together; where it is left out,
        `settings.validation` of them.

    Returns
    -------
    TrainingRecord
        Losses over the pairs of all ranks, the same on every rank.

    Raises
    ------
    ValueError
        There are too few pairs, a pair is not finite, or a rank has none.
    TrainingError
        The loss is not finite.
    """
    with together(comm):
        _require_finite(inputs, targets)
    share = Share.of(comm, len(inputs))
    if held_out is None:
        held_out = math.ceil(share.total * settings.validation)
    _require_pairs(share.total, held_out, settings.validation)
    split = share.total - held_out
    parameters = list(module.parameters())
    optimizer = optimizer_class(settings.optimizer)(parameters, lr=settings.learning_rate)
    pairs = _Pairs(inputs, targets, share, settings.batch_size)
    watch = progress if isinstance(progress, Watch) else Watch(progress, lambda _: None)
    with seeded(settings.seed, inputs.device) as generator, replica(module, comm) as parallel:
        course = Course(module, optimizer, generator, targets.new_zeros(()), comm)
        known = watch.begin(course.state_dict)
        if known is not None:
            course.load_state_dict(known)
        while course.epoch < settings.epochs and not course.record.stopped_early:
            for group in optimizer.param_groups:
                group["lr"] = settings.rate(course.epoch)
            _run_epoch(parallel, course, pairs, split, watch)
            errors = [course.error, _evaluate(module, pairs, torch.arange(split, share.total))]
            losses = _losses(course.epoch, pairs, total(comm, torch.stack(errors)), held_out)
            course.end_epoch(*losses, settings.patience)
            watch(course.epoch - 1, course.record)
        best, record = on_first(comm, lambda: (course.best, course.record), inputs.device)
    module.load_state_dict(best)
    module.eval()
    return record


@dataclass(frozen=True)
class _Pairs:
    """The pairs of this rank, and where they stand among all."""

    inputs: Tensor
    targets: Tensor
    share: Share
    batch_size: int

    def batches(self, order: Tensor) -> Iterator[tuple[Tensor, int]]:
        """Yield which pairs here belong to each batch, and how many it has on all ranks."""
        for batch in order.split(self.batch_size):
            yield self.share.here(batch), len(batch)

    def error(self, module: nn.Module, here: Tensor) -> Tensor:
        """Return Σ(module(x) − y)² over pairs of this rank; 0, by way of the module, over none."""
        chosen = (here if len(here) else torch.tensor([0])).to(self.inputs.device)
        outputs, targets = module(self.inputs[chosen]), self.targets[chosen]
        return nn.functional.mse_loss(outputs[: len(here)], targets[: len(here)], reduction="sum")

    def values(self, pairs: int) -> int:
        """Return how many numbers the targets of so many pairs are."""
        return pairs * self.targets.shape[1:].numel()


def _run_epoch(module: nn.Module, course: Course, pairs: _Pairs, split: int, watch: Watch) -> None:
    """Train on those batches of an epoch that are not done yet, and add up the error of the pairs that are here."""
    module.train()
    batches = pairs.batches(course.shuffled(split))
    for here, count in itertools.islice(batches, course.batch, None):
        course.optimizer.zero_grad(set_to_none=True)
        error = pairs.error(module, here)
        (error / pairs.values(count)).backward()
        course.optimizer.step()
        course.error += error.detach()
        course.batch += 1
        watch.end_batch()


@torch.no_grad()
def _evaluate(module: nn.Module, pairs: _Pairs, held_out: Tensor) -> Tensor:
    """Return the error of those held-out pairs that are here."""
    module.eval()
    whole = torch.zeros((), dtype=pairs.targets.dtype, device=pairs.targets.device)
    for here, _ in pairs.batches(held_out):
        if len(here):
            whole += pairs.error(module, here)
    return whole


def _losses(epoch: int, pairs: _Pairs, errors: Tensor, held_out: int) -> tuple[float, float | None]:
    """Return the mean squared errors over the pairs trained on and held out of all ranks."""
    error, held_out_error = errors.tolist()
    values = [error / pairs.values(pairs.share.total - held_out)]
    values += [held_out_error / pairs.values(held_out)] if held_out else []
    if not all(math.isfinite(value) for value in values):
        raise TrainingError(
            f"training: expected a finite loss, got {values} in epoch {epoch}; lower "
            "training.learning_rate"
        )
    return values[0], values[1] if held_out else None


def _require_pairs(pairs: int, held_out: int, fraction: float) -> None:
    if pairs - held_out < 1:
        raise ValueError(
            f"training: expected at least {2 if fraction else 1} pairs of window and target with "
            f"training.validation = {fraction}, got {pairs}; sample a longer series or lower "
            "training.validation"
        )


def _require_finite(*tensors: Tensor) -> None:
    for tensor in tensors:
        invalid = int((~torch.isfinite(tensor)).sum())
        if invalid:
            raise ValueError(
                f"training: expected finite coefficients, got {invalid} NaN or infinite values; "
                "check the sampled field"
            )

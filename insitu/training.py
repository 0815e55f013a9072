"""One training loop for every network: batches, loss, early stop, seeds; no model knowledge."""

import copy
import importlib
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from insitu.collectives import on_first, together, total
from insitu.parallel import Share, replica

__all__ = ["Progress", "Training", "TrainingError", "TrainingRecord", "seeded", "train"]


class TrainingError(RuntimeError):
    """The loss is no longer a finite number."""


@dataclass(frozen=True)
class Training:
    """Settings of the training loop.

    Parameters
    ----------
    epochs
        Largest number of passes over the training pairs.
    batch_size
        Pairs in each step of the optimizer, of all ranks together.
    learning_rate
        Step size given to the optimizer.
    patience
        Epochs without a better validation loss after which training stops.
    validation
        Fraction of the training span, its last part in time, that is held out; 0 holds out
        nothing and watches the training loss instead.
    seed
        Seed of the weights and of the order of the batches.
    optimizer
        Class path of a torch optimizer that takes `lr`.
    final_rate
        Fraction of the learning rate in the last epoch, reached along half a cosine; 1 keeps the
        rate. Source: Loshchilov & Hutter 2017, arXiv:1608.03983.

    Raises
    ------
    ValueError
        A value is out of its range, or the optimizer cannot be imported.
    """

    epochs: int = 200
    batch_size: int = 32
    learning_rate: float = 1e-3
    patience: int = 20
    validation: float = 0.2
    seed: int = 0
    optimizer: str = "torch.optim.Adam"
    final_rate: float = 1.0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "patience"):
            _require(getattr(self, name) >= 1, name, ">= 1", getattr(self, name))
        rate = self.learning_rate
        _require(0 < rate < math.inf, "learning_rate", "a finite number > 0", rate)
        _require(0 <= self.final_rate <= 1, "final_rate", "in [0, 1]", self.final_rate)
        _require(0 <= self.validation < 1, "validation", "in [0, 1)", self.validation)
        _require(0 <= self.seed < 2**63, "seed", "in [0, 2^63)", self.seed)
        _optimizer_class(self.optimizer)

    def rate(self, epoch: int) -> float:
        """Return the learning rate in an epoch, counted from 0."""
        if self.epochs == 1:
            return self.learning_rate
        rest = (1 + math.cos(math.pi * epoch / (self.epochs - 1))) / 2
        return self.learning_rate * (self.final_rate + (1 - self.final_rate) * rest)


@dataclass
class TrainingRecord:
    """What happened in one training.

    Attributes
    ----------
    loss
        Mean squared error over the training pairs, one number for each epoch, in the square of
        the targets' unit.
    validation_loss
        The same over the held-out pairs; empty where nothing is held out.
    best_epoch
        Epoch (from 0) whose weights the module holds at the end.
    stopped_early
        Whether patience ended the training.
    seconds
        Wall time.
    """

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    best_epoch: int = 0
    stopped_early: bool = False
    seconds: float = 0.0

    @property
    def watched(self) -> list[float]:
        """The loss that decides which weights are best."""
        return self.validation_loss or self.loss


Progress = Callable[[int, TrainingRecord], None]


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
        Called as progress(epoch, record) after each epoch, on every rank.
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
    started = time.perf_counter()
    with together(comm):
        _require_finite(inputs, targets)
    share = Share.of(comm, len(inputs))
    if held_out is None:
        held_out = math.ceil(share.total * settings.validation)
    _require_pairs(share.total, held_out, settings.validation)
    split = share.total - held_out
    parameters = list(module.parameters())
    optimizer = _optimizer_class(settings.optimizer)(parameters, lr=settings.learning_rate)
    pairs = _Pairs(inputs, targets, share, settings.batch_size)
    record = TrainingRecord()
    with seeded(settings.seed, inputs.device) as generator, replica(module, comm) as parallel:
        best = copy.deepcopy(module.state_dict())
        for epoch in range(settings.epochs):
            for group in optimizer.param_groups:
                group["lr"] = settings.rate(epoch)
            errors = [
                _run_epoch(parallel, optimizer, pairs, torch.randperm(split, generator=generator)),
                _evaluate(module, pairs, torch.arange(split, share.total)),
            ]
            _append_losses(record, epoch, pairs, total(comm, torch.stack(errors)), held_out)
            if epoch == 0 or record.watched[epoch] < record.watched[record.best_epoch]:
                record.best_epoch = epoch
                _store(module, best)
            record.seconds = time.perf_counter() - started
            record.stopped_early = epoch - record.best_epoch >= settings.patience
            if progress is not None:
                progress(epoch, record)
            if record.stopped_early:
                break
        best, record = on_first(comm, lambda: (best, record), inputs.device)
    module.load_state_dict(best)
    module.eval()
    record.seconds = time.perf_counter() - started
    return record


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[torch.Generator]:
    """Seed torch inside the block, leave its global random state outside untouched.

    Parameters
    ----------
    seed
        Seed of torch's CPU generator, of the one of `device` and of the yielded generator.
    device
        The only CUDA or HIP device whose state is saved and seeded; a CPU device adds none.

    Yields
    ------
    torch.Generator
        A fresh generator on the CPU, so that what it draws is the same on every device.
    """
    forked = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=forked):
        torch.random.default_generator.manual_seed(seed)
        for index in forked:
            torch.cuda.default_generators[index].manual_seed(seed)
        yield torch.Generator().manual_seed(seed)


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


def _run_epoch(
    module: nn.Module, optimizer: torch.optim.Optimizer, pairs: _Pairs, order: Tensor
) -> Tensor:
    """Train on all pairs in this order and return the error of those that are here."""
    module.train()
    whole = torch.zeros((), dtype=pairs.targets.dtype, device=pairs.targets.device)
    for here, count in pairs.batches(order):
        optimizer.zero_grad(set_to_none=True)
        error = pairs.error(module, here)
        (error / pairs.values(count)).backward()
        optimizer.step()
        whole += error.detach()
    return whole


@torch.no_grad()
def _evaluate(module: nn.Module, pairs: _Pairs, held_out: Tensor) -> Tensor:
    """Return the error of those held-out pairs that are here."""
    module.eval()
    whole = torch.zeros((), dtype=pairs.targets.dtype, device=pairs.targets.device)
    for here, _ in pairs.batches(held_out):
        if len(here):
            whole += pairs.error(module, here)
    return whole


def _append_losses(
    record: TrainingRecord, epoch: int, pairs: _Pairs, errors: Tensor, held_out: int
) -> None:
    error, held_out_error = errors.tolist()
    values = [error / pairs.values(pairs.share.total - held_out)]
    values += [held_out_error / pairs.values(held_out)] if held_out else []
    if not all(math.isfinite(value) for value in values):
        raise TrainingError(
            f"training: expected a finite loss, got {values} in epoch {epoch}; lower "
            "training.learning_rate"
        )
    record.loss.append(values[0])
    record.validation_loss.extend(values[1:])


@torch.no_grad()
def _store(module: nn.Module, best: dict[str, Any]) -> None:
    for name, value in module.state_dict().items():
        best[name].copy_(value)


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


def _require(valid: bool, name: str, expected: str, got: Any) -> None:
    if not valid:
        raise ValueError(f"training.{name} must be {expected}, got {got}; correct the case")


def _optimizer_class(class_path: str) -> Callable[..., torch.optim.Optimizer]:
    module, _, name = class_path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        found = None
    _require(
        isinstance(found, type) and issubclass(found, torch.optim.Optimizer),
        "optimizer",
        "the class path of a torch optimizer such as torch.optim.Adam",
        class_path,
    )
    return found

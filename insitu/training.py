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
        Pairs in each step of the optimizer.
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

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "patience"):
            _require(getattr(self, name) >= 1, name, ">= 1", getattr(self, name))
        rate = self.learning_rate
        _require(0 < rate < math.inf, "learning_rate", "a finite number > 0", rate)
        _require(0 <= self.validation < 1, "validation", "in [0, 1)", self.validation)
        _require(0 <= self.seed < 2**63, "seed", "in [0, 2^63)", self.seed)
        _optimizer_class(self.optimizer)


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
) -> TrainingRecord:
    """Fit `module` to the pairs by stochastic gradient descent on ⟨(module(x) − y)²⟩.

    Pairs are in order of time; the last part of them is held out for validation. The loss stays
    on the device and is read once for each epoch. Equal seeds give bitwise equal weights on CPU,
    and the global random state outside is left as it was. On return the module holds the weights
    of the best epoch and is in evaluation mode.

    Parameters
    ----------
    module
        Network on the device and of the dtype of the pairs; changed in place.
    inputs
        (pairs, ...), in order of time, dimensionless, on any device.
    targets
        (pairs, ...), as `inputs`.
    settings
        Epochs, batches, optimizer, seed.
    progress
        Called as progress(epoch, record) after each epoch.

    Raises
    ------
    ValueError
        There are too few pairs, or a pair is not finite.
    TrainingError
        The loss is not finite.
    """
    started = time.perf_counter()
    held_out = _held_out(len(inputs), settings.validation)
    _require_finite(inputs, targets)
    split = len(inputs) - held_out
    parameters = list(module.parameters())
    optimizer = _optimizer_class(settings.optimizer)(parameters, lr=settings.learning_rate)
    record, best = TrainingRecord(), copy.deepcopy(module.state_dict())
    early, late = slice(None, split), slice(split, None)
    with seeded(settings.seed, inputs.device) as generator:
        for epoch in range(settings.epochs):
            loss = _run_epoch(
                module, optimizer, inputs[early], targets[early], settings.batch_size, generator
            )
            _append_losses(record, epoch, loss, _evaluate(module, inputs[late], targets[late]))
            if epoch == 0 or record.watched[epoch] < record.watched[record.best_epoch]:
                record.best_epoch = epoch
                _store(module, best)
            record.seconds = time.perf_counter() - started
            record.stopped_early = epoch - record.best_epoch >= settings.patience
            if progress is not None:
                progress(epoch, record)
            if record.stopped_early:
                break
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
        Seed of the CPU generator, of the one of `device` and of the yielded generator.
    device
        The only CUDA or HIP device whose state is saved and seeded; a CPU device adds none.

    Yields
    ------
    torch.Generator
        A fresh generator on `device`.
    """
    forked = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=forked):
        torch.random.default_generator.manual_seed(seed)
        for index in forked:
            torch.cuda.default_generators[index].manual_seed(seed)
        yield torch.Generator(device=device).manual_seed(seed)


def _run_epoch(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: Tensor,
    targets: Tensor,
    batch_size: int,
    generator: torch.Generator,
) -> Tensor:
    module.train()
    order = torch.randperm(len(inputs), generator=generator, device=inputs.device)
    total = torch.zeros((), dtype=targets.dtype, device=targets.device)
    for batch in order.split(batch_size):
        optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.mse_loss(module(inputs[batch]), targets[batch])
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(batch)
    return total / len(inputs)


@torch.no_grad()
def _evaluate(module: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor | None:
    if len(inputs) == 0:
        return None
    module.eval()
    return nn.functional.mse_loss(module(inputs), targets)


def _append_losses(
    record: TrainingRecord, epoch: int, loss: Tensor, validation_loss: Tensor | None
) -> None:
    losses = [loss] if validation_loss is None else [loss, validation_loss]
    values = torch.stack(losses).tolist()
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


def _held_out(pairs: int, fraction: float) -> int:
    held_out = math.ceil(pairs * fraction)
    if pairs - held_out < 1:
        raise ValueError(
            f"training: expected at least {2 if fraction else 1} pairs of window and target with "
            f"training.validation = {fraction}, got {pairs}; sample a longer series or lower "
            "training.validation"
        )
    return held_out


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

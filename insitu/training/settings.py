"""What a case says about the training of a network."""

import importlib
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

__all__ = ["Training", "needs_closure", "optimizer_class"]


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
        optimizer_class(self.optimizer)

    def rate(self, epoch: int) -> float:
        """Return the learning rate in an epoch, counted from 0."""
        if self.epochs == 1:
            return self.learning_rate
        rest = (1 + math.cos(math.pi * epoch / (self.epochs - 1))) / 2
        return self.learning_rate * (self.final_rate + (1 - self.final_rate) * rest)


def _require(valid: bool, name: str, expected: str, got: Any) -> None:
    if not valid:
        raise ValueError(f"training.{name} must be {expected}, got {got}; correct the case")


def optimizer_class(class_path: str) -> Callable[..., torch.optim.Optimizer]:
    """Return the class of that path.

    Raises
    ------
    ValueError
        It cannot be imported, is none of torch's optimizers, or needs a closure.
    """
    module, _, name = class_path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        found = None
    _require(
        isinstance(found, type)
        and issubclass(found, torch.optim.Optimizer)
        and not needs_closure(found),
        "optimizer",
        "the class path of a torch optimizer that steps without a closure, such as torch.optim.Adam",
        class_path,
    )
    return found


def needs_closure(optimizer: type[torch.optim.Optimizer]) -> bool:
    """Return whether a step must evaluate the loss itself, maybe more than once, as L-BFGS does."""
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty

"""What a case says about training while the simulation runs."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn

from insitu.online.buffer import Policy
from insitu.online.splits import Split, TimeBlocks

__all__ = ["Online"]


@dataclass(frozen=True)
class Online:
    """A model of the state, trained on pairs (state, state `stride` samples later) while the simulation makes them.

    Parameters
    ----------
    model
        The network by its class path: maps (batch, components, *points) to the states `stride` samples later, as an
        `insitu.surrogates.Surrogate` does. Where it has statistics, they are taken from the first training pairs.
    loss
        By its class path; takes outputs and targets and averages over the pairs; null: torch.nn.MSELoss.
    optimizer
        By its class path; its parameters but for the weights under init_args.
    batch_size
        Pairs in each training step, of all ranks together.
    stride
        Samples from a state to its target.
    parameters
        Names of the equation's parameters that the model is given beside the state, as [nu].
    capacity
        Pairs of samples held on the device, of all ranks together, for training; of the held-out ones as many at most.
    policy
        "ring": the newest pairs. "reservoir": a uniform sample of all pairs so far.
    warm_up
        Pairs of samples that must be held before training starts.
    validation
        Which pairs are held out: TimeBlocks, which null stands for, or, for ensembles, Members.
    validate_every
        Training steps between two looks at the held-out pairs.
    mode
        "interleaved": `steps` training steps after every `every` samples while the solver waits; reruns have the same bits.
        "overlapped": beside the solver, on a low-priority stream of a GPU or on spare threads of a host, as much as `budget`
        lets it; on one rank.
    every
        Samples between two turns of the trainer (interleaved), or between two measurements of the solver (overlapped).
    steps
        Training steps in a turn.
    budget
        Overlapped: by how much the 95th percentile of the solver's step time may grow.
    threads
        Overlapped: threads of the host that train; null takes those the solver leaves free, one at least.
    memory
        Part of a GPU's memory left by the solver that training may take.
    precision
        Of the weights; null takes the simulation's.
    seed
        Of the weights, the buffer and the batches.

    Raises
    ------
    ValueError
        A value is out of its range.
    """

    model: nn.Module
    loss: nn.Module | None = None
    optimizer: Callable[[Iterable], torch.optim.Optimizer] = torch.optim.Adam
    batch_size: int = 32
    stride: int = 1
    parameters: list[str] = field(default_factory=list)
    capacity: int = 256
    policy: Policy = "reservoir"
    warm_up: int = 16
    validation: Split | None = None
    validate_every: int = 100
    mode: Literal["interleaved", "overlapped"] = "interleaved"
    every: int = 1
    steps: int = 1
    budget: float = 0.1
    threads: int | None = None
    memory: float = 0.8
    precision: Literal["float32", "float64"] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("batch_size", "stride", "capacity", "warm_up", "validate_every", "every"):
            _require(getattr(self, name) >= 1, name, "1 or more", getattr(self, name))
        _require(self.steps >= 0, "steps", "0 or more", self.steps)
        _require(
            self.warm_up <= self.capacity, "warm_up", f"<= capacity {self.capacity}", self.warm_up
        )
        _require(self.budget > 0, "budget", "> 0", self.budget)
        _require(0 < self.memory <= 1, "memory", "in (0, 1]", self.memory)
        _require(self.threads is None or self.threads >= 1, "threads", "1 or more", self.threads)
        _require(0 <= self.seed < 2**63, "seed", "in [0, 2^63)", self.seed)
        if isinstance(self.split, TimeBlocks):
            self.split.require_longer_than(self.stride)

    @property
    def split(self) -> Split:
        """`validation`, or what it is by default."""
        return self.validation or TimeBlocks()


def _require(valid: bool, name: str, expected: str, got: Any) -> None:
    if not valid:
        raise ValueError(f"online.{name} must be {expected}, got {got}; correct the case")

"""A model trained on the samples of a running simulation."""

import contextlib
import copy
import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from insitu.collectives import on_first, size_of
from insitu.distributed import Distributed, own_part
from insitu.online.buffer import Buffer
from insitu.online.descent import Descent
from insitu.online.settings import Online
from insitu.online.splits import leaks
from insitu.online.whole import Whole
from insitu.training import TrainingError, needs_closure, seeded

__all__ = ["OnlineRecord", "OnlineTrainer"]


@dataclass
class OnlineRecord:
    """What happened in an online training; every rank has the same.

    Attributes
    ----------
    steps
        Training steps taken.
    samples
        Samples offered.
    loss
        Mean training loss of each `validate_every` steps.
    validation
        At the same moments, the step, the loss over the held-out pairs, and that of persistence.
    backoffs, skipped
        Times a batch was halved, and steps left out, because memory was short.
    """

    steps: int = 0
    samples: int = 0
    loss: list[float] = field(default_factory=list)
    validation: list[list[int | float]] = field(default_factory=list)
    backoffs: int = 0
    skipped: int = 0


class OnlineTrainer:
    """A module, its optimizer, and buffers of the pairs it is trained on and of those held out.

    The same samples offered and the same steps taken give the same bits on a host, whatever else draws random numbers. On several
    ranks each has a part of the buffers and of every batch, and the gradients are summed: the result is that of one rank apart
    from the order of these sums, and weights have the same bits on all ranks.

    Parameters
    ----------
    settings
        The module in it is copied, not trained.
    device
        Of the states and the training.
    dtype
        Of the states.
    whole : Whole, optional
        How ranks share the states; all of them make the same calls. Left out where one rank has all.

    Raises
    ------
    ValueError
        A step of the optimizer needs a closure.
    """

    def __init__(
        self,
        settings: Online,
        device: torch.device,
        dtype: torch.dtype,
        whole: Whole | None = None,
    ) -> None:
        self.settings, self.device, self.record = settings, device, OnlineRecord()
        self._whole = whole
        comm = self._comm = whole.comm if whole else None
        precision = getattr(torch, settings.precision) if settings.precision else dtype
        module = copy.deepcopy(settings.model).to(device, precision)
        weights = on_first(comm, module.state_dict, device)
        module.load_state_dict(weights)
        self.module = module
        self.optimizer = settings.optimizer(list(module.parameters()))
        if needs_closure(type(self.optimizer)):
            raise ValueError(
                "online.optimizer must be a torch optimizer that steps without a closure, such as torch.optim.Adam, got "
                f"{type(self.optimizer).__name__}; correct the case"
            )
        loss = settings.loss or nn.MSELoss()
        self.descent = Descent(module, loss, self.optimizer, settings.batch_size, comm)
        rank = 0 if comm is None else comm.rank
        self.training, self.validation = (
            Buffer(settings.capacity, settings.policy, settings.seed + n, rank, size_of(comm))
            for n in range(2)
        )
        self._recent: deque[tuple[int, Tensor]] = deque()
        self._pending: list[Tensor] = []
        self._has_statistics = False
        with seeded(settings.seed, device):
            self._random_state = _random_state(device)

    @property
    def is_warm(self) -> bool:
        """Whether enough pairs are held to train."""
        return self.training.members > 0 and self.training.entries >= max(
            self.settings.warm_up, size_of(self._comm)
        )

    def offer(
        self,
        sample: int,
        states: Float[Tensor, "members components *points"],
        parameters: Float[Tensor, "all_members p"] | None = None,
    ) -> None:
        """Take the next sample: a copy is kept for `stride` samples, and with the one that long before it makes a pair.

        Parameters
        ----------
        sample
            Its number. After a gap in the numbers no pair reaches across it.
        states
            (members, components, *points) of this rank, on the device; copied.
        parameters
            (members of all ranks, p).
        """
        if self._recent and sample != self._recent[-1][0] + 1:
            self._recent.clear()
        room = torch.empty_like(states, memory_format=torch.contiguous_format)
        if len(self._recent) == self.settings.stride:
            first, room = self._recent.popleft()
            self._pair(first, room, sample, states, parameters)
        self._recent.append((sample, room.copy_(states)))
        self.record.samples += 1

    def step(self) -> Float[Tensor, ""] | None:
        """Take one training step.

        Returns
        -------
        Tensor or None
            The loss of the batch before the step, on the device; None where too few pairs are held, or memory was too short.

        Raises
        ------
        TrainingError
            The loss of the last `validate_every` steps is not finite.
        """
        if not self.is_warm:
            return None
        if not self._has_statistics:
            self._fit_statistics()
        with self._own_random_numbers():
            loss = self.descent.step(self.training, self.training.draw(self.settings.batch_size))
        self.record.backoffs, self.record.skipped = self.descent.backoffs, self.descent.skipped
        if loss is not None:
            self.record.steps += 1
            self._pending.append(loss)
            if len(self._pending) == self.settings.validate_every:
                self.validate()
        return loss

    def validate(self) -> None:
        """Record the mean training loss since the last look, and the loss over the held-out pairs; all ranks call it."""
        if self._pending:
            loss = float(torch.stack(self._pending).mean())
            self._pending.clear()
            if not math.isfinite(loss):
                raise TrainingError(
                    f"online training: expected a finite loss, got {loss} by step {self.record.steps}; lower the learning rate"
                )
            self.record.loss.append(loss)
        is_new = not self.record.validation or self.record.validation[-1][0] < self.record.steps
        if is_new and self.validation.pairs:
            errors = self.descent.evaluate(self.validation)
            if errors is not None:
                self.record.validation.append([self.record.steps, *errors.tolist()])

    def leaked_pairs(self) -> int:
        """Return how many held-out pairs share time with a training pair of their member; 0 unless a split is wrong."""
        return leaks(self.training.origins(), self.validation.origins())

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next steps depend on, see `insitu.distributed`; tensors are not copied."""
        return {
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "training": self.training.state_dict(),
            "validation": self.validation.state_dict(),
            "recent": [[sample, Distributed(states)] for sample, states in self._recent],
            "pending": list(self._pending),
            "record": asdict(self.record),
            "most": self.descent.most,
            "has_statistics": self._has_statistics,
            "random": self._random_state,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a copy of what `state_dict` returned; the next steps have the bits they had.

        Parameters
        ----------
        state
            With this rank's part of what ranks share, as tensors, where these may be others than those that saved it.

        Raises
        ------
        ValueError, RuntimeError
            The state belongs to other settings.
        """
        state = copy.deepcopy(own_part(dict(state)))
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.training.load_state_dict(state["training"], self.device)
        self.validation.load_state_dict(state["validation"], self.device)
        self._recent = deque((sample, states.to(self.device)) for sample, states in state["recent"])
        self._pending = [loss.to(self.device) for loss in state["pending"]]
        self.record = OnlineRecord(**state["record"])
        self.descent.most = state["most"]
        self.descent.backoffs, self.descent.skipped = self.record.backoffs, self.record.skipped
        self._has_statistics = state["has_statistics"]
        self._random_state = state["random"]

    def _pair(
        self, first: int, before: Tensor, last: int, after: Tensor, parameters: Tensor | None
    ) -> None:
        split = self.settings.split
        total = self._whole.members if self._whole else len(before)
        for buffer, members in (
            (self.training, split.training(first, last, total)),
            (self.validation, split.validation(first, last, total)),
        ):
            slot = buffer.place(first, last, members) if members else None
            if slot is None:
                continue
            inputs, targets = (
                self._at(buffer.owner(slot), before),
                self._at(buffer.owner(slot), after),
            )
            if inputs is not None and targets is not None:
                chosen = slice(members.start, members.stop)
                given = None if parameters is None else parameters[chosen]
                buffer.write(slot, inputs[chosen], targets[chosen], given)

    def _at(self, owner: int, states: Tensor) -> Tensor | None:
        return self._whole.at(owner, states) if self._whole else states

    def _fit_statistics(self) -> None:
        """Take the statistics of a module that has such from the training pairs held now."""
        self._has_statistics = True
        fit = getattr(self.module, "fit_statistics", None)
        if callable(fit):
            held = self.training.here(torch.arange(self.training.pairs))
            pairs = self.training.gather(held)
            fit(pairs.inputs, pairs.targets, pairs.parameters, self._comm)

    @contextlib.contextmanager
    def _own_random_numbers(self) -> Iterator[None]:
        """Let the module draw from a state of the trainer's own where the solver waits meanwhile."""
        if self.settings.mode == "overlapped":
            yield
            return
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.set_rng_state(self._random_state[0])
            for state in self._random_state[1:]:
                torch.cuda.set_rng_state(state, self.device)
            yield
            self._random_state = _random_state(self.device)


def _random_state(device: torch.device) -> list[Tensor]:
    """Return the state of torch's random numbers on the host and on a GPU."""
    state = [torch.get_rng_state()]
    return [*state, torch.cuda.get_rng_state(device)] if device.type == "cuda" else state

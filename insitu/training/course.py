"""Where a training is, as a state that the same training goes on from in another process."""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from insitu.collectives import size_of
from insitu.distributed import Local, Rows, own_part

__all__ = ["Course", "Progress", "TrainingRecord", "Watch"]


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


class Watch:
    """A progress that also sees where the trainings inside one fit are, so that the fit can be left and gone on with.

    A model hands it to `train` as it hands on any progress. A fit that is done again with the states of its trainings goes
    through those that were over at once, and on with the one that was not.

    Parameters
    ----------
    progress
        Shown each epoch.
    breathe
        Called after each batch and each epoch with this watch, where the state is whole; what it raises ends the fit, to be
        done again.
    """

    def __init__(self, progress: Progress | None, breathe: Callable[["Watch"], None]):
        self._progress, self._breathe = progress, breathe
        self._known: list[Mapping[str, Any]] = []
        self._courses: list[Callable[[], Mapping[str, Any]]] = []
        self._begun = 0.0
        self.batches = 0

    def __call__(self, epoch: int, record: TrainingRecord) -> None:
        """Show an epoch."""
        if self._progress is not None:
            self._progress(epoch, record)
        self._pass()

    @property
    def seconds(self) -> float:
        """What a state of now would save: seconds since a training began or went on; 0 where none has."""
        return time.monotonic() - self._begun if self._courses else 0.0

    def begin(self, course: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any] | None:
        """Take what returns the state of a training; return that in which it is to go on, None from the beginning."""
        number = len(self._courses)
        self._courses.append(course)
        self._begun = time.monotonic()
        return self._known[number] if number < len(self._known) else None

    def end_batch(self) -> None:
        """Note that a batch is done."""
        self.batches += 1
        self._pass()

    def state_dict(self) -> list[Mapping[str, Any]]:
        """Return the states of the trainings, not copied."""
        return [course() for course in self._courses] + self._known[len(self._courses) :]

    def load_state_dict(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Have the trainings of the fit, which is done again, go on in these states."""
        self._known, self._courses = list(state), []

    def _pass(self) -> None:
        try:
            self._breathe(self)
        except Exception:
            # Random numbers are those of the training here, and a fit that is done again may begin with the same module.
            self.load_state_dict(copy.deepcopy(self.state_dict()))
            raise


class Course:
    """All that the rest of a training depends on, between two of its batches.

    Parameters
    ----------
    module, optimizer
        Those of the training, on every rank of it alike.
    generator
        Of the order of the batches.
    error
        0, of the dtype of the targets and on their device.
    comm
        The ranks of the training.

    Attributes
    ----------
    record
        Of the epochs that are over.
    best
        State of the module after the best of them.
    batch
        Batches done in the epoch that is not over.
    error
        Σ of these batches, over the pairs of this rank.
    """

    def __init__(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
        error: Tensor,
        comm: Any = None,
    ):
        self.record = TrainingRecord()
        self.best: dict[str, Any] = copy.deepcopy(module.state_dict())
        self.batch, self.error = 0, error
        self.module, self.optimizer = module, optimizer
        self._generator, self._order = generator, generator.get_state()
        self._ranks = size_of(comm)
        self._began = time.perf_counter()

    @property
    def epoch(self) -> int:
        """The number of the epoch that is not over, from 0."""
        return len(self.record.loss)

    def shuffled(self, pairs: int) -> Tensor:
        """Return the order of the pairs in this epoch, the same after its first batch as before."""
        self._generator.set_state(self._order)
        return torch.randperm(pairs, generator=self._generator)

    def end_epoch(self, loss: float, validation_loss: float | None, patience: int) -> None:
        """Note the losses of the epoch, keep the weights where they are the best, and stop after some epochs in vain."""
        record, epoch = self.record, self.epoch
        record.loss.append(loss)
        if validation_loss is not None:
            record.validation_loss.append(validation_loss)
        if epoch == 0 or record.watched[epoch] < record.watched[record.best_epoch]:
            record.best_epoch = epoch
            with torch.no_grad():
                for name, value in self.module.state_dict().items():
                    self.best[name].copy_(value)
        record.stopped_early = epoch - record.best_epoch >= patience
        record.seconds = time.perf_counter() - self._began
        self.batch, self._order = 0, self._generator.get_state()
        self.error.zero_()

    def state_dict(self) -> dict[str, Any]:
        """Return it, not copied; of several ranks each its own random numbers and error."""
        device = self.error.device
        random = [
            torch.get_rng_state(),
            torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        ]
        return {
            "module": dict(self.module.state_dict()),
            "best": dict(self.best),
            "optimizer": self.optimizer.state_dict(),
            "record": asdict(self.record),
            "batch": self.batch,
            "error": Rows(self.error[None], self._ranks),
            "order": self._order,
            "random": random if self._ranks == 1 else Local(random),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another process was, on any device, on as many ranks or others."""
        state = own_part(state)
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        for name, value in self.best.items():
            value.copy_(state["best"][name])
        self.record = TrainingRecord(**state["record"])
        self._began -= self.record.seconds
        self.batch, self._order = state["batch"], state["order"]
        self.error.copy_(state["error"].sum())
        on_host, on_device = state["random"]
        torch.set_rng_state(on_host)
        if on_device is not None and self.error.device.type == "cuda":
            torch.cuda.set_rng_state(on_device, self.error.device)

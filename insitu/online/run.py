"""Training beside one simulation: its samples to the trainer, its turns between them or a thread beside them."""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from insitu.bridge import on_stream, torch_device
from insitu.case_errors import CaseError
from insitu.online.budget import SlowdownBudget
from insitu.online.clock import BurstClock
from insitu.online.memory import cap_memory
from insitu.online.overlap import Overlap
from insitu.online.settings import Online
from insitu.online.trainer import OnlineTrainer
from insitu.online.whole import Whole
from insitu.sampler import Sampler
from insitu.training import TrainingError
from solver import Device, Moment, Simulation, thread_count

__all__ = ["OnlineRun"]


class OnlineRun:
    """The training that a case asks for beside its simulation.

    Parameters
    ----------
    settings
        See `Online`.
    simulation, sampler
        Every snapshot the sampler takes is offered to the trainer.

    Raises
    ------
    CaseError
        A parameter of the equation does not exist, or training is to overlap on several ranks.
    """

    def __init__(self, settings: Online, simulation: Simulation, sampler: Sampler):
        comm, device = simulation.comm, torch_device(simulation.device)
        if settings.mode == "overlapped" and comm is not None:
            raise CaseError(
                f"online.mode overlapped trains on one rank, got {comm.size}; choose interleaved, or run on one rank"
            )
        self.settings, self.simulation, self.sampler = settings, simulation, sampler
        members = simulation.shape if simulation.members is not None else (1, *simulation.shape)
        dtype = getattr(torch, str(simulation.u.dtype))
        whole = None if comm is None else Whole(comm, simulation.shares, members)
        self.trainer = OnlineTrainer(settings, device, dtype, whole)
        self.memory_cap = cap_memory(device, settings.memory)
        self.budget = SlowdownBudget(settings.budget) if settings.mode == "overlapped" else None
        self.ended: str | None = None
        self.seconds = 0.0
        self.dropped = 0
        self._parameters = _parameters(simulation, settings, members[0], dtype, device)
        self._taken, self._next = sampler.taken, 0
        self._knows_interval = False
        self._overlap: Overlap | None = None

    @property
    def steps_at_once(self) -> int:
        """Solver steps between two yields of the sampler."""
        return self.settings.every * self.sampler.every

    def beside(self, moments: Iterator[Moment]) -> Iterator[Moment]:
        """Train while the sampler goes on with the simulation; its moments are passed on.

        Parameters
        ----------
        moments
            ``sampler.follow(...)`` with at most `steps_at_once` steps between two of them.

        Raises
        ------
        RuntimeError
            The training failed, but for want of memory or a loss that is not finite, which end the training and not the run.
        """
        if self.budget is None:
            yield from self._interleaved(moments)
        else:
            yield from self._overlapped(moments, self.budget)
        if self.ended is None and self.trainer.record.steps:
            self._try(self.trainer.validate)

    def summary(self) -> dict[str, Any]:
        """Return what happened, as plain values for ``report.json``."""
        trainer, settings = self.trainer, self.settings
        return {
            "mode": settings.mode,
            "samples": trainer.record.samples,
            "dropped_samples": self.dropped,
            "pairs": {"training": trainer.training.pairs, "validation": trainer.validation.pairs},
            "leaked_pairs": trainer.leaked_pairs(),
            "buffer_bytes": trainer.training.nbytes + trainer.validation.nbytes,
            "steps": trainer.record.steps,
            "seconds": self.seconds,
            "loss": trainer.record.loss,
            "validation": [
                dict(zip(("step", "loss", "persistence"), each, strict=True))
                for each in trainer.record.validation
            ],
            "backoffs": trainer.record.backoffs,
            "skipped_steps": trainer.record.skipped,
            "pairs_at_once": trainer.descent.most,
            "memory_cap": self.memory_cap,
            "slowdown": self.budget and self.budget.summary(),
            "ended": self.ended,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return all that the rest of the training depends on; a thread that trains ends first, and is started anew."""
        if self._overlap is not None:
            self._restart_overlap()
        return {
            "trainer": self.trainer.state_dict(),
            "interval": getattr(self.trainer.module, "interval", None),
            "knows_interval": self._knows_interval,
            "budget": self.budget and self.budget.state_dict(),
            "next": self._next,
            "ended": self.ended,
            "seconds": self.seconds,
            "dropped": self.dropped,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned, with this rank's part of what ranks share, after the sampler did.

        Raises
        ------
        ValueError, RuntimeError
            The state belongs to other settings.
        """
        self.trainer.load_state_dict(state["trainer"])
        self._knows_interval = state["knows_interval"]
        if self._knows_interval and state["interval"] is not None:
            module: Any = self.trainer.module
            module.interval = state["interval"]
        if self.budget and state["budget"]:
            self.budget.load_state_dict(state["budget"])
        self._next, self._taken = state["next"], self.sampler.taken
        self.ended, self.seconds, self.dropped = state["ended"], state["seconds"], state["dropped"]

    def save(self, file: Path) -> None:
        """Write the module's state; its statistics are in it."""
        torch.save(self.trainer.module.state_dict(), file)

    def _interleaved(self, moments: Iterator[Moment]) -> Iterator[Moment]:
        for moment in moments:
            started = time.perf_counter()
            for sample, states in self._new_samples():
                self.trainer.offer(sample, states, self._parameters)
                if (sample + 1) % self.settings.every == 0 and self.ended is None:
                    self._try(self._take_turn)
            self.seconds += time.perf_counter() - started
            yield moment

    def _take_turn(self) -> None:
        for _ in range(self.settings.steps):
            self.trainer.step()

    def _overlapped(self, moments: Iterator[Moment], budget: SlowdownBudget) -> Iterator[Moment]:
        device = self.simulation.device
        clock = BurstClock(device)
        with _high_priority(device):
            self._start_overlap()
            try:
                while self._overlap is not None:
                    overlap, throttle = self._overlap, self._overlap.throttle
                    step = self.simulation.step
                    clock.start(throttle.rest)
                    moment = next(moments, None)
                    clock.stop(self.simulation.step - step)
                    for seconds, rest in clock.finished():
                        budget.record(seconds, rest is not None and rest == throttle.rest)
                    throttle.duty = budget.duty
                    for sample, states in self._new_samples():
                        overlap.offer(sample, states)
                    self._look_after(overlap)
                    if moment is None:
                        break
                    yield moment
            finally:
                overlap = self._stop_overlap()
        self._look_after(overlap)

    def _start_overlap(self) -> None:
        threads = self.settings.threads or max(1, _cores() - thread_count())
        self._overlap = Overlap(self.trainer, self._parameters, threads)
        self._overlap.start()

    def _stop_overlap(self) -> Overlap:
        """End the thread; the trainer may then be looked at."""
        overlap = self._overlap
        if overlap is None:
            raise RuntimeError("online training: expected a thread that trains, got none")
        overlap.stop()
        self._overlap = None
        self.seconds += overlap.throttle.busy
        self.dropped += overlap.dropped
        return overlap

    def _restart_overlap(self) -> None:
        self._look_after(self._stop_overlap())
        self._start_overlap()

    def _look_after(self, overlap: Overlap) -> None:
        """Raise what ended the thread, unless it was the loss."""
        if overlap.failure is None:
            return
        if not isinstance(overlap.failure, TrainingError):
            raise RuntimeError(f"online training failed: {overlap.failure}") from overlap.failure
        self.ended = str(overlap.failure)

    def _try(self, work: Any) -> None:
        try:
            work()
        except TrainingError as error:
            self.ended = str(error)

    def _new_samples(self) -> Iterator[tuple[int, Tensor]]:
        """Yield number and states, (members, components, *points), of the snapshots that have not been offered."""
        count = self.sampler.taken - self._taken
        if not self._knows_interval:
            self._tell_interval()
        shape = self.simulation.u.shape
        shape = shape if self.simulation.members is not None else (1, *shape)
        if not count:
            return
        held = self.sampler.newest(count)
        self._taken += count
        self._next += count - len(
            held
        )  # overwritten before they were seen: no pair reaches across them
        for states in held:
            self._next += 1
            yield self._next - 1, states.view(shape)

    def _tell_interval(self) -> None:
        """Give a module that has an `interval` the simulated time between a state and its target."""
        moments, stride = self.sampler.moments, self.settings.stride
        if len(moments) > stride:
            self._knows_interval = True
            module: Any = self.trainer.module
            if hasattr(module, "interval"):
                module.interval = moments[-1].time - moments[-1 - stride].time


def _parameters(
    simulation: Simulation, settings: Online, members: int, dtype: torch.dtype, device: torch.device
) -> Tensor | None:
    """Return the equation's parameters that the model is given, (members, p)."""
    if not settings.parameters:
        return None
    columns = []
    for name in settings.parameters:
        value = getattr(simulation.equation, name, None)
        if not isinstance(value, float | np.ndarray) or np.ndim(value) > 1:
            raise CaseError(
                f"online.parameters must name numbers of the equation, {type(simulation.equation).__name__} has no number "
                f"{name}; correct it"
            )
        columns.append(np.broadcast_to(value, (members,)))
    return torch.tensor(np.stack(columns, axis=1), dtype=dtype, device=device)


@contextlib.contextmanager
def _high_priority(device: Device) -> Iterator[None]:
    """Let the solver, and torch in this thread, launch on a stream before which a trainer's must wait; GPUs."""
    if device.is_host:
        yield
        return
    with device.launch_on(torch.cuda.Stream(torch_device(device), priority=-1)), on_stream(device):
        yield


def _cores() -> int:
    return len(os.sched_getaffinity(0))

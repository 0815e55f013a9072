"""The states of a running simulation on their way to a file, beside it."""

import bisect
import contextlib
import functools
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from insitu.bridge import as_torch
from insitu.case_errors import CaseError
from insitu.collectives import together
from insitu.config import Time
from insitu.fields.files import format_of, held_steps, opened
from insitu.fields.layout import layout_of
from insitu.fields.settings import FILES, FieldFile
from insitu.fields.staging import staging_of
from insitu.fields.variables import Variables
from insitu.fields.vtkhdf import VtkHdfFile
from insitu.fields.zarr_store import ZarrStore
from insitu.sampler import Sampler
from insitu.schedule import Schedule
from solver import Moment, Simulation

__all__ = ["FieldWriter"]

_PATIENCE = 5.0  # seconds after which readers of a run that goes on see new states
_DIVIDES = 1e-6  # relative; an interval that so many snapshots fit this well is made of them


class FieldWriter:
    """Writes the fields over time that a case asks for: the state the run begins with, then snapshots as they come.

    A snapshot is copied on the device, from there to the host while the solver goes on, and written by a thread; the solver waits
    where the file falls behind by more than one batch of states. A simulation that does not stand at its beginning continues the
    file that is there, whose later states are dropped: so a resumed run leaves the file that one without interruption leaves.

    Parameters
    ----------
    settings
    simulation, sampler, schedule
        Of the run. All ranks make the same calls.
    folder
        The run directory.

    Raises
    ------
    CaseError
        The file would not be of the run's snapshots, a variable or member is unknown, or a package is missing.
    OSError
        The file cannot be written.

    Warns
    -----
    UserWarning
        The file to continue has lost states since the checkpoint from which the run goes on; said by the first rank.
    """

    def __init__(
        self,
        settings: FieldFile,
        simulation: Simulation,
        sampler: Sampler,
        schedule: Schedule,
        times: Time,
        folder: Path,
    ):
        self._simulation, self._sampler = simulation, sampler
        self._variables = Variables(simulation, settings.variables, settings.format == "vtkhdf")
        self._stride = _stride(settings, simulation, schedule, times)
        self._path = folder / FILES[settings.format]
        capacity = schedule.snapshots // self._stride + 1
        self._layout = layout_of(settings, simulation, self._variables.all, capacity)
        self._format = format_of(settings.format)
        self._file: VtkHdfFile | ZarrStore | None = None
        self._steps: list[int] = []
        self._promised = 0  # states, by the newest checkpoint
        self._staging = staging_of(simulation, self._variables, self._layout)
        self._batch: list[Moment] = []
        self._seen, self._shown_at = sampler.taken, 0.0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fields")
        self._work: Future[None] | None = None
        self.seconds = self.waited = 0.0

    @property
    def most(self) -> int | None:
        """Steps after which the simulation must be looked at; None where snapshots say all."""
        return self._stride * self._sampler.every if self._variables.needs_moment else None

    def beside(self, moments: Iterator[Moment]) -> Iterator[Moment]:
        """Write what the sampler takes while it goes on with the simulation; its moments are passed on."""
        self._steps = held_steps(self._path, self._layout.comm, self._simulation.step)
        with together(self._layout.comm):
            if len(self._steps) < self._promised and self._simulation.ranks.rank == 0:
                warnings.warn(
                    f"{self._path.name} must hold the {self._promised} states that this run has written, it holds "
                    f"{len(self._steps)}; put it back before resuming, or go on without them",
                    stacklevel=2,
                )
        self._file = opened(self._format, self._path, self._layout, len(self._steps))
        self._seen, self._shown_at = self._sampler.taken, time.monotonic()
        if not self._steps:
            self._take(as_torch(self._simulation.u).reshape(-1), self._simulation.moment)
        for moment in moments:
            started = time.perf_counter()
            self._look()
            self.seconds += time.perf_counter() - started
            yield moment
        self.flush()

    def flush(self) -> None:
        """Write all that was taken and let readers see it, before a checkpoint for instance; all ranks call it."""
        with together(self._layout.comm):
            self._wait()
        self._hand_over()
        with together(self._layout.comm):
            self._wait()
        with together(self._layout.comm):
            self._show()

    def truncate(self, step: int) -> None:
        """Drop the states after a step; all ranks call it."""
        self.flush()
        self._forget_after(step)
        with together(self._layout.comm):
            self._show()

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint has of the file: nothing but that its states are on the disk; all ranks call it."""
        self.flush()
        self._promised = len(self._steps)
        return {"states": self._promised}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Note how many states there must be; `beside` continues the file from where the simulation stands."""
        self._promised = state["states"]

    def finish(self, step: int, has_failed: bool = False) -> dict[str, Any]:
        """End the file with the last state at or before a step, and return what it is for the report; all ranks call it.

        After a failure no rank waits for another, what is not yet written may be missing, and states that the newest checkpoint
        counts on stay.
        """
        if has_failed:
            with contextlib.suppress(Exception):  # the failure is what is to be told
                self._wait()
                if self._file is not None and not self._file.is_exchanged:
                    self._hand_over()
                    self._wait()
                del self._steps[max(self._promised, bisect.bisect_right(self._steps, step)) :]
                self._show()
        else:
            self.truncate(step)
        self._thread.shutdown()
        if self._file is not None:
            self._file.close()
        layout = self._layout
        state = layout.own_bytes * len(self._steps)
        return {
            "file": self._path.name,
            "states": len(self._steps),
            "variables": [variable.name for variable in layout.variables],
            "members": layout.members,
            "bytes": state if has_failed or layout.comm is None else layout.comm.allreduce(state),
            "seconds": self.seconds,
        }

    def _look(self) -> None:
        """Take those of the snapshots since the last look that belong into the file."""
        first, self._seen = self._seen, self._sampler.taken
        due = [n for n in range(first + 1, self._seen + 1) if n % self._stride == 0]
        if due:
            rows, moments = self._sampler.since(first)
            for n in due:
                self._take(rows[n - first - 1], moments[n - first - 1])
        is_late = time.monotonic() - self._shown_at > _PATIENCE
        if is_late and self._file is not None and not self._file.is_exchanged:
            self._hand_over()

    def _take(self, row: Tensor, moment: Moment) -> None:
        """Copy a state to where the next batch is collected, and hand the batch over where it is full."""
        if not self._batch and self._staging.is_shared:
            self._wait()
        self._staging.put(len(self._batch), row)
        self._batch.append(moment)
        if (len(self._steps) + len(self._batch)) % self._layout.batch == 0:
            self._hand_over()

    def _hand_over(self) -> None:
        """Give the batch to the thread, once it has written the one before."""
        if not self._batch or self._file is None:
            return
        self._wait()
        ready = self._staging.take(len(self._batch))
        first, moments = len(self._steps), self._batch
        self._steps += [moment.step for moment in moments]
        self._batch = []
        if self._file.is_exchanged:
            ready = functools.partial(np.asarray, self._file.arranged(ready()))
        self._work = self._thread.submit(self._write, self._file, first, moments, ready)

    def _write(
        self,
        file: VtkHdfFile | ZarrStore,
        first: int,
        moments: list[Moment],
        ready: Callable[[], np.ndarray],
    ) -> None:
        """Write a batch, in the thread, and now and then let readers see those before it."""
        file.write(first, moments, ready())
        if time.monotonic() - self._shown_at > _PATIENCE:
            file.publish(first)
            self._shown_at = time.monotonic()

    def _forget_after(self, step: int) -> None:
        del self._steps[bisect.bisect_right(self._steps, step) :]

    def _wait(self) -> None:
        """Wait for the batch that the thread is writing.

        Raises
        ------
        OSError
            It could not be written.
        """
        if self._work is None:
            return
        started, work, self._work = time.perf_counter(), self._work, None
        try:
            work.result()
        finally:
            self.waited += time.perf_counter() - started

    def _show(self) -> None:
        if self._file is not None:
            self._file.publish(len(self._steps))


def _stride(settings: FieldFile, simulation: Simulation, schedule: Schedule, times: Time) -> int:
    """Return the snapshots from one state of the file to the next.

    Raises
    ------
    CaseError
        It is no whole number of them.
    """
    if settings.every is not None:
        if schedule.interval is not None or settings.every % schedule.every:
            raise CaseError(
                f"fields.every must be a multiple of the {schedule.every} steps between snapshots, which are equally long, got "
                f"{settings.every}; give fields.interval, or a multiple"
            )
        return settings.every // schedule.every
    if settings.interval is None:
        return 1
    between = schedule.interval
    if between is None:
        dt = simulation.dt or next(iter(simulation.plan(times.until, times.steps)))[0]
        between = schedule.every * dt
    count = round(settings.interval / between)
    if count < 1 or abs(count * between - settings.interval) > _DIVIDES * settings.interval:
        raise CaseError(
            f"fields.interval must be a multiple of the time between snapshots, {between:g}, got {settings.interval:g}; match it "
            "with sampling.interval"
        )
    return count

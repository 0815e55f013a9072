"""The states of a running simulation on their way to a file, beside it."""

import bisect
import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from insitu.bridge import as_torch
from insitu.case_errors import CaseError
from insitu.collectives import together
from insitu.config import Time
from insitu.output.files import held_steps, opened
from insitu.output.layout import layout_of
from insitu.output.settings import FILES, Output
from insitu.output.staging import staging_of
from insitu.output.variables import Variables
from insitu.sampler import Sampler
from insitu.schedule import Schedule
from solver import Moment, Simulation

__all__ = ["FieldOutput"]

_PATIENCE = 5.0  # seconds after which readers of a run that goes on see new states
_DIVIDES = 1e-6  # relative; an interval that so many snapshots fit this well is made of them


class FieldOutput:
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
    """

    def __init__(
        self,
        settings: Output,
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
        self._steps = held_steps(self._path, self._layout.comm, simulation.step)
        self._file = opened(settings.format, self._path, self._layout, len(self._steps))
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
        self._hand_over()
        with together(self._layout.comm):
            self._wait()
        self._show()

    def truncate(self, step: int) -> None:
        """Drop the states after a step; all ranks call it."""
        self.flush()
        del self._steps[bisect.bisect_right(self._steps, step) :]
        self._show()

    def finish(self, step: int, has_failed: bool = False) -> dict[str, Any]:
        """End the file with the last state at or before a step, and return what it is for the report; all ranks call it.

        After a failure no rank waits for another, and what is not yet written may be missing.
        """
        if has_failed:
            with contextlib.suppress(Exception):  # the failure is what is to be told
                self._wait()
                del self._steps[bisect.bisect_right(self._steps, step) :]
                self._show()
        else:
            self.truncate(step)
        self._thread.shutdown()
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
            "waited": self.waited,
        }

    def _look(self) -> None:
        """Take those of the snapshots since the last look that belong into the file."""
        first, self._seen = self._seen, self._sampler.taken
        due = [n for n in range(first + 1, self._seen + 1) if n % self._stride == 0]
        if not due:
            return
        rows, moments = self._sampler.since(first)
        for n in due:
            self._take(rows[n - first - 1], moments[n - first - 1])

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
        if not self._batch:
            return
        self._wait()
        ready = self._staging.take(len(self._batch))
        first, moments = len(self._steps), self._batch
        self._steps += [moment.step for moment in moments]
        self._batch = []
        if self._file.is_exchanged:
            ready = functools.partial(np.asarray, self._file.arranged(ready()))
        self._work = self._thread.submit(self._write, first, moments, ready)

    def _write(self, first: int, moments: list[Moment], ready: Callable[[], np.ndarray]) -> None:
        """Write a batch, in the thread, and now and then let readers see those before it."""
        self._file.write(first, moments, ready())
        if time.monotonic() - self._shown_at > _PATIENCE:
            self._file.publish(first)
            self._shown_at = time.monotonic()

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
        except OSError as error:
            raise OSError(
                f"the fields must be written to {self._path}, got '{error.strerror or error}'; make room there, or choose "
                "another --output"
            ) from error
        finally:
            self.waited += time.perf_counter() - started

    def _show(self) -> None:
        self._file.publish(len(self._steps))


def _stride(settings: Output, simulation: Simulation, schedule: Schedule, times: Time) -> int:
    """Return the snapshots from one state of the file to the next.

    Raises
    ------
    CaseError
        It is no whole number of them.
    """
    if settings.every is not None:
        if schedule.interval is not None or settings.every % schedule.every:
            raise CaseError(
                f"output.every must be a multiple of the {schedule.every} steps between snapshots, which are equally long, got "
                f"{settings.every}; give output.interval, or a multiple"
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
            f"output.interval must be a multiple of the time between snapshots, {between:g}, got {settings.interval:g}; match it "
            "with sampling.interval"
        )
    return count

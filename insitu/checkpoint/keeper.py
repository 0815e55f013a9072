"""What keeps a run from being lost: its checkpoints, written while it runs, its stops, and where it goes on."""

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sized
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from insitu.bridge import torch_device
from insitu.case_errors import CaseError
from insitu.checkpoint.files import Manifest
from insitu.checkpoint.layout import Layout
from insitu.checkpoint.packing import pack
from insitu.checkpoint.parts import RandomNumbers, ReductionState, SimulationState
from insitu.checkpoint.settings import Checkpoint
from insitu.checkpoint.standing import read_standing, write_standing
from insitu.checkpoint.stops import REASONS, Stopped, Stops
from insitu.checkpoint.store import Store
from insitu.checkpoint.writing import Writing
from insitu.collectives import size_of
from insitu.sampler import Sampler
from insitu.timing import Ledger
from solver import Simulation

__all__ = ["CheckpointError", "Keeper", "Progress", "Resume", "Stateful"]

Resume = Literal["auto", "always", "never"]
Progress = Callable[[str, int, int | None], None]  # (stage, done, of how many)
_FREE = ("checkpoint", "convergence", "device", "output", "ranks", "transfers")
_LOOK = 0.2  # seconds between two looks at what asks the run to stop
_WORTH = 0.1  # of the interval of checkpoints, from which on what was done in learning, or before it, is worth one
_REPLAYED = ("ledger", "random")


@dataclass
class Stop:
    """Why a run was stopped; None where it was not."""

    reason: str | None = None


class CheckpointError(RuntimeError):
    """A checkpoint could not be written."""


@runtime_checkable
class Stateful(Protocol):
    """A part of a run with a state, see `insitu.distributed` for what it is made of."""

    def state_dict(self) -> Any:
        """Return the state, not copied."""

    def load_state_dict(self, state: Any) -> None:
        """Take over a state, with this rank's part of what ranks share; all ranks call it."""


@runtime_checkable
class Learnt(Stateful, Sized, Protocol):
    """What has been learnt so far, and how far that is, a number that only grows."""


class Keeper:
    """Writes the checkpoints of one run, stops it where it is asked to, and resumes it; all ranks make the same calls.

    A look at what asks to stop and at what is written is one small message of each rank, about five times a second however often
    `look` is called. A checkpoint is copied to host memory at a look, written by a thread of each rank while the solver goes on,
    and complete when a later look finds that all ranks have it on the disk.

    Parameters
    ----------
    settings
        When and how many.
    case
        The resolved case, which must be the same to be resumed, but for what no result depends on.
    folder
        The run directory.
    comm : mpi4py.MPI.Comm, optional
        The ranks of the run.
    resume
        "auto": from the newest usable checkpoint of an unfinished run, else from the beginning. "always": from a checkpoint or
        not at all. "never": from the beginning.
    limit
        Seconds from now until the run stops by itself; None: what the scheduler says.

    Attributes
    ----------
    found : str or None
        The checkpoint that the run goes on from.
    before_saving : callable or None
        Called before a checkpoint's state is copied, by all ranks: for files that must not lag behind it.

    Raises
    ------
    CaseError
        The checkpoints are another case's, all of them are damaged, or there is none to resume from.

    Warns
    -----
    RuntimeWarning
        A damaged checkpoint is passed over for an older one.
    """

    def __init__(
        self,
        settings: Checkpoint,
        case: Mapping[str, Any],
        folder: Path,
        comm: Any = None,
        resume: Resume = "auto",
        limit: float | None = None,
    ):
        self._settings, self._case, self._folder = settings, case, folder
        self._comm = comm.Dup() if size_of(comm) > 1 else None
        self._is_first = self._comm is None or self._comm.rank == 0
        self.stops = Stops(folder, self._is_first, limit)
        self._store = Store(folder)
        self._manifest: Manifest | None = None
        self.found: str | None = None
        if resume != "never":
            self._find(resume)
        self._last: str | None = self.found
        self._writing: Writing | None = None
        self._cost, self._stage = 0.0, "setup"
        self._replayed: dict[str, Any] = {}
        self._calls, self._apart, self._looked = 0, 1, time.monotonic()
        self._saved = self._looked
        self._parts: dict[str, Stateful] = {}
        self.before_saving: Callable[[], None] | None = None

    def attach(
        self,
        simulation: Simulation,
        sampler: Sampler,
        ledger: Ledger,
        reduction: Any,
        online: Stateful | None,
        driver: Stateful | None,
        lessons: Learnt,
        fields: Stateful | None = None,
    ) -> None:
        """Say which parts have a state, and set them to the checkpoint's where the run goes on from one."""
        self._simulation, self._sampler, self._ledger = simulation, sampler, ledger
        self._layout = Layout.of(simulation)
        parts: dict[str, Stateful | None] = {
            "ledger": ledger,
            "simulation": SimulationState(simulation),
            "sampler": sampler,
            "reduction": ReductionState(reduction, simulation),
            "online": online,
            "driver": driver,
            "lessons": lessons,
            "fields": fields,
            "random": RandomNumbers(torch_device(simulation.device)),
        }
        self._parts = {name: part for name, part in parts.items() if part is not None}
        self._lessons = lessons
        if self._is_first and self.found is None:
            self._store.prune(0)
        if self.found is not None and self._manifest is not None:
            state = self._store.load(self.found, self._manifest, self._layout)
            for name, part in self._parts.items():
                part.load_state_dict(state[name])
        self._saved_step = simulation.step
        self._stand("unfinished")

    def look(self, stage: str) -> None:
        """Look, if it is time to, whether to stop or to write; called at each moment at which the state is whole.

        Raises
        ------
        Stopped
            On every rank: the run is asked to stop.
        CheckpointError
            On every rank: one could not write its part.
        DivergenceError
            The state to be written is not finite.
        """
        self._calls += 1
        if self._calls < self._apart and not self._is_due_by_steps:
            return
        now = time.monotonic()
        reason, is_writing, due, apart = self._largest(
            self.stops.reason(self._cost),
            self._writing is not None and self._writing.is_alive,
            self._is_first and self._is_due(now),
            (now - self._looked) / self._calls,
        )
        self._apart = max(1, min(2 * self._calls, int(_LOOK / max(apart, 1e-9))))
        self._calls, self._looked = 0, now
        if stage != self._stage:
            self._stage = stage
            self._stand("unfinished")
        if self._writing is not None and not is_writing:
            self._complete()
        if reason:
            raise Stopped(REASONS[int(reason) - 1])
        if self._writing is None and (due or self._is_due_by_steps):
            self._save()

    def end_loop(self) -> None:
        """Write a checkpoint where going back to the one before would cost more than a part of the interval.

        A run that goes on from a later one goes through learning from its beginning, with those fits that are done left out: its
        stages in the ledger and its random numbers begin as they are now.
        """
        self._stage, self._apart = "learning", 1
        with self._ledger.aside():
            self._replayed = {name: self._parts[name].state_dict() for name in _REPLAYED}
        by_steps = self._settings.steps is not None
        (is_worth,) = self._largest(self._is_worth(time.monotonic() - self._saved))
        if is_worth or by_steps:
            self._finish_writing()
            self._save()
            self._finish_writing()  # the next look may be hours away, after a fit
        self._stand("unfinished")

    def pause(self) -> None:
        """Look now, and wait for what is written: the next look may be hours away.

        Raises
        ------
        Stopped, CheckpointError
            As `look`.
        """
        self._apart = 0
        self.look("learning")
        self._finish_writing()
        self._apart = 1

    def is_called(self, seconds: float) -> bool:
        """Return whether what the first rank does alone is to be left for a look of all.

        That is where the run is asked to stop, or a checkpoint is due that keeps so many seconds of it, enough to be worth one.
        """
        now = time.monotonic()
        if now - self._looked < _LOOK:
            return False
        self._looked = now
        if self.stops.reason(self._cost):
            return True
        return seconds > 0 and self._is_due(now) and self._is_worth(seconds)

    def watching(self) -> AbstractContextManager[None]:
        """Take signals for a wish to stop, inside the block."""
        return self.stops.watching()

    @contextlib.contextmanager
    def stopping(self) -> Iterator[Stop]:
        """Write the last checkpoint of a run that is stopped inside the block, which then ends as if it were done."""
        stop = Stop()
        try:
            yield stop
        except Stopped as stopped:
            stop.reason = str(stopped)
            self._finish_writing()
            self._save()
            self._finish_writing()
            if self._is_first:
                self.stops.obey()

    def finish(self, reason: str | None = None) -> None:
        """Note that the run has reached its end, or was stopped for a reason."""
        self._finish_writing()
        if reason is None:
            self._stage = "finished"
            if self._is_first and not self._settings.keep_finished:
                self._store.prune(0)
                self._last = None
        self._stand("unfinished" if reason else "finished", reason)
        if self._comm is not None:
            self._comm.Free()

    def fail(self, error: BaseException) -> None:
        """Note that this rank cannot go on; the others are not waited for."""
        if self._writing is not None:
            self._writing.join()
        if self._is_first:
            self._store.clean()
        if self._parts:
            self._write_standing("failed", str(error) or type(error).__name__)

    @property
    def way_on(self) -> str:
        """In words, where the same command would go on."""
        return f"it goes on from {self._last}" if self._last else "it starts from the beginning"

    @property
    def _is_due_by_steps(self) -> bool:
        steps = self._settings.steps
        return steps is not None and self._simulation.step - self._saved_step >= steps

    def _is_due(self, now: float) -> bool:
        seconds = self._settings.seconds
        return seconds is not None and now - self._saved >= seconds

    def _is_worth(self, passed: float) -> bool:
        seconds = self._settings.seconds
        return seconds is not None and passed >= _WORTH * seconds

    def _find(self, resume: Resume) -> None:
        """Choose the checkpoint to go on from."""
        status = read_standing(self._folder).get("status") if self._is_first else None
        if self._agreed(status) == "finished" and resume == "auto":
            return
        self.found, self._manifest, damages = self._store.newest(self._comm)
        if self._manifest is not None:
            self._require_same(self._manifest.case)
        elif damages:
            raise CaseError(
                f"a checkpoint in {self._store.folder} must be what was written, none is ({'; '.join(damages)}); start afresh "
                "with --resume never"
            )
        elif resume == "always":
            raise CaseError(
                f"{self._folder} must hold a checkpoint to resume from, it holds none; run without --resume to start"
            )
        if damages and self._is_first:
            warnings.warn(
                f"checkpoint: {'; '.join(damages)}; {self.found} is used instead",
                RuntimeWarning,
                stacklevel=4,
            )

    def _require_same(self, other: Mapping[str, Any]) -> None:
        mine, its = (
            _flat({key: value for key, value in case.items() if key not in _FREE})
            for case in (self._case, other)
        )
        for key in sorted(mine.keys() | its.keys()):
            if repr(mine.get(key)) != repr(its.get(key)):
                raise CaseError(
                    f"the checkpoints in {self._store.folder} must be of this case, {key} is {mine.get(key)!r} and was "
                    f"{its.get(key)!r}; give the case as it was, another --output, or --resume never to start afresh"
                )

    def _save(self) -> None:
        """Copy the state, and begin to write it."""
        simulation = self._simulation
        learnt = self._agreed(len(self._lessons))
        name = f"step-{simulation.step}" + (f"-learning-{learnt}" if learnt else "")
        if name == self._last:
            return
        if self.before_saving is not None:
            self.before_saving()
        with self._ledger.aside():
            if not simulation.is_finite():
                self._sampler.check(simulation)
            state = {each: part.state_dict() for each, part in self._parts.items()}
            state |= self._replayed
            packed = pack(state, self._layout)
        about = {
            "step": simulation.step,
            "time": simulation.time,
            "stage": self._stage,
            "ranks": simulation.ranks.size,
            "case": self._case,
        }
        folder = self._store.temporary(name)
        self._writing = Writing(name, packed, folder, simulation.ranks.rank, about)
        self._saved, self._saved_step = time.monotonic(), simulation.step

    def _finish_writing(self) -> None:
        if self._writing is not None:
            self._writing.join()
            self._complete()

    def _complete(self) -> None:
        """Make the checkpoint whole whose parts all ranks have written."""
        writing, self._writing = self._writing, None
        if writing is None:
            return
        parts = self._gathered((writing.written, writing.error))
        error: str | None = None
        if self._is_first:
            error = next((told for _, told in parts if told), None)
            try:
                if error is None:
                    whole = Manifest.of([written for written, _ in parts], **writing.about)
                    self._store.commit(writing.name, whole)
                    self._store.prune(self._settings.keep)
            except OSError as failure:
                error = failure.strerror or str(failure)
        error = self._agreed(error)
        if error is not None:
            if self._is_first:
                self._store.clean()
            raise CheckpointError(
                f"the checkpoint {writing.name} must be written to {self._store.folder}, got '{error}'; make room there and run "
                f"the same command again, {self.way_on}"
            )
        self._last, self._cost = writing.name, writing.seconds
        self._stand("unfinished")

    def _stand(self, status: str, reason: str | None = None) -> None:
        if self._is_first:
            self._write_standing(status, reason)

    def _write_standing(self, status: str, reason: str | None) -> None:
        simulation = self._simulation
        content = {
            "status": status,
            "stage": self._stage,
            "step": simulation.step,
            "time": simulation.time,
            "checkpoint": self._last,
            "reason": reason,
        }
        try:
            write_standing(self._folder, content)
        except OSError as error:
            warnings.warn(
                f"{self._folder / 'state.json'} could not be written: {error.strerror}",
                RuntimeWarning,
                stacklevel=2,
            )

    def _largest(self, *values: float | int) -> tuple[float | int, ...]:
        if self._comm is None:
            return values
        return tuple(map(max, zip(*self._comm.allgather(values), strict=True)))

    def _gathered(self, value: Any) -> list[Any]:
        return [value] if self._comm is None else self._comm.gather(value) or []

    def _agreed(self, value: Any) -> Any:
        return value if self._comm is None else self._comm.bcast(value)


def _flat(values: Any, key: str = "") -> dict[str, Any]:
    if not isinstance(values, dict):
        return {key: values}
    parts = (_flat(value, f"{key}.{name}".lstrip(".")) for name, value in values.items())
    return {name: value for part in parts for name, value in part.items()}

"""What asks a run to stop early: a signal, the end of its time, a file."""

import contextlib
import math
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType

__all__ = ["REASONS", "Stopped", "Stops", "seconds_left", "seconds_of"]

REASONS = ("signal SIGTERM", "signal SIGUSR1", "time budget", "STOP file")
_SIGNALS = {signal.SIGTERM: 1, signal.SIGUSR1: 2}
_PATIENCE = 10  # seconds for qstat
_MARGIN, _SHARE = (
    60.0,
    0.1,
)  # before a scheduler's end: so many seconds, or that part of what is left where it is less


class Stopped(Exception):
    """A run is to end now, to be resumed later; its text is the reason."""


class Stops:
    """The reasons to stop, as numbers of which a larger one wins: 0 none, else one more than the index in `REASONS`.

    Parameters
    ----------
    folder
        Where a file ``STOP`` asks for it.
    is_first
        Whether this is the first rank, which looks at time and file for all.
    limit
        Seconds from now until the run is to stop by itself; None: those of the scheduler that runs this job, else no limit.
    """

    def __init__(self, folder: Path, is_first: bool = True, limit: float | None = None):
        self._file, self._is_first = folder / "STOP", is_first
        self._signalled = 0
        left = seconds_left(os.environ) if is_first and limit is None else None
        if left is not None:
            limit = left - min(_MARGIN, _SHARE * left)
        self._end = math.inf if limit is None else time.monotonic() + limit

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Take SIGTERM and SIGUSR1 for a wish to stop, inside the block; in the main thread, where signals arrive."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def reason(self, spare: float = 0.0) -> int:
        """Return what asks this rank to stop now.

        Parameters
        ----------
        spare
            Seconds that a checkpoint takes, which is to be written before the time is over.
        """
        if not self._is_first:
            return self._signalled
        if self._file.exists():
            return 4
        return 3 if time.monotonic() + spare >= self._end else self._signalled

    def obey(self) -> None:
        """Take the file away, which has had its way; one rank calls it."""
        self._file.unlink(missing_ok=True)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signalled = _SIGNALS[signal.Signals(number)]


def seconds_of(text: str) -> float:
    """Return the seconds of a time as schedulers write it: 90, 1:30, 1:00:00, 1-12:00:00.

    Raises
    ------
    ValueError
        The text is none.
    """
    match = re.fullmatch(r"(?:(\d+)-)?(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d+)?)", text.strip())
    if match is None:
        raise ValueError(
            f"a time must be seconds, minutes:seconds or hours:minutes:seconds, got {text!r}; give for example 1:00:00"
        )
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def seconds_left(variables: Mapping[str, str]) -> float | None:
    """Return the seconds until the scheduler ends this job, None where none says it.

    ``INSITU_JOB_END_TIME`` and Slurm's ``SLURM_JOB_END_TIME`` are seconds since 1970; under PBS qstat is asked.
    """
    for name in ("INSITU_JOB_END_TIME", "SLURM_JOB_END_TIME"):
        with contextlib.suppress(KeyError, ValueError):
            return float(variables[name]) - time.time()
    if "PBS_JOBID" in variables:
        return _left_in_pbs(variables["PBS_JOBID"])
    return None


def _left_in_pbs(job: str) -> float | None:
    command = ["qstat", "-f", job]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE).stdout
        walltime, used = (
            re.search(rf"^\s*{name}\.walltime = (\S+)$", told, re.MULTILINE)
            for name in ("Resource_List", "resources_used")
        )
        if walltime is None:
            return None
        return seconds_of(walltime[1]) - (seconds_of(used[1]) if used else 0.0)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None

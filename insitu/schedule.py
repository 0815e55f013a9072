"""When snapshots are taken: every so many steps, or at equal times where the step varies."""

import math
from typing import NamedTuple

from insitu.config import CaseError, Sampling, Time
from solver import Simulation

__all__ = ["Schedule", "schedule_of"]

_DIVIDES = 1e-9  # relative; a time step that fits an interval this well divides it


class Schedule(NamedTuple):
    """What a run takes.

    Attributes
    ----------
    every
        Steps between snapshots.
    interval
        Simulated time between snapshots where their number of steps is not known, else None.
    snapshots
        How many the run takes, at most.
    steps
        Steps of the run; None where they are not known beforehand.
    """

    every: int
    interval: float | None
    snapshots: int
    steps: int | None


def schedule_of(simulation: Simulation, time: Time, sampling: Sampling) -> Schedule:
    """Return the schedule of a run; a simulation of constant steps takes over one that divides ``sampling.interval``.

    Raises
    ------
    CaseError
        The snapshots would not be equally spaced, or the run has no end.
    """
    if time.cfl is None:
        every = _steps_between(simulation, sampling)
        segments = list(simulation.plan(time.until, time.steps))
        for dt, _ in reversed(segments):
            simulation.discretization.prepare(simulation.u, dt, simulation.time)
        steps = sum(count for _, count in segments)
        return Schedule(every, None, steps // every, steps)
    if sampling.interval is None:
        raise CaseError(
            f"snapshots of a run with time.cfl need sampling.interval, got every {sampling.every or 1} steps, which are not "
            "equally long; give the time between snapshots"
        )
    if time.until is None:
        raise CaseError(
            "a run with time.cfl and sampling.interval needs time.until, got steps alone; give the time to reach"
        )
    return Schedule(1, sampling.interval, _whole(time.until / sampling.interval), None)


def _steps_between(simulation: Simulation, sampling: Sampling) -> int:
    """Return the steps between snapshots, for ``sampling.interval`` of the largest stable step that divides it."""
    if sampling.interval is None:
        return sampling.every or 1
    longest = simulation.dt or next(simulation.plan(steps=1))[0]
    ratio = sampling.interval / longest
    count = math.ceil(ratio * (1 - _DIVIDES))
    if simulation.dt is not None and abs(count - ratio) > _DIVIDES * ratio:
        raise CaseError(
            f"sampling.interval must be a multiple of time.dt = {simulation.dt:g}, got {sampling.interval:g}; match them or "
            "leave dt out"
        )
    simulation.dt = sampling.interval / count
    return count


def _whole(ratio: float) -> int:
    return math.floor(ratio * (1 + _DIVIDES))

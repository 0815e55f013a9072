"""When an application's snapshots are taken, and whether they are such that something can be learnt from them."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from insitu.config import CaseError, Sampling, Time
from solver import DivergenceError, Moment

__all__ = ["SampleTimes", "require_equal_intervals", "require_finite"]

_ROUND_OFF = 1e-6  # relative, of the time between two snapshots


class SampleTimes:
    """The steps of an application that are sampled.

    Parameters
    ----------
    sampling
        Every so many steps, or at equal times, at which steps must end.
    time
        How far the application goes, where the case says it.

    Attributes
    ----------
    every : int
        Steps between snapshots, 1 where they are taken at times.
    planned : int or None
        Snapshots that the case says there will be, None where it does not.
    """

    def __init__(self, sampling: Sampling, time: Time | None):
        self.every = sampling.every or 1
        self._interval = sampling.interval
        self.planned = None if time is None else self._count(time)

    def is_due(self, moment: Moment, taken: int) -> bool:
        """Whether a step that has just been finished is sampled, after so many snapshots.

        Raises
        ------
        CaseError
            The step went past the time of a snapshot.
        """
        interval = self._interval
        if interval is None:
            return moment.step % self.every == 0
        due = (taken + 1) * interval
        if moment.time > due + _ROUND_OFF * interval:
            raise CaseError(
                f"snapshots are due every {interval:g}, step {moment.step} went from before t = {due:g} to {moment.time:g}; let "
                "steps end at those times, or give sampling.every"
            )
        return moment.time > due - _ROUND_OFF * interval

    def next_after(self, step: int) -> int:
        """Return the number of the next step that may be due."""
        return step + 1 if self._interval is not None else (step // self.every + 1) * self.every

    def _count(self, time: Time) -> int | None:
        ends = [] if time.until is None else [time.until]
        if time.steps is not None and time.dt is not None:
            ends.append(time.steps * time.dt)
        if self._interval is not None:
            return math.floor(min(ends) / self._interval * (1 + _ROUND_OFF)) if ends else None
        counts = [] if time.steps is None else [time.steps]
        if time.until is not None and time.dt is not None:
            counts.append(math.ceil(time.until / time.dt * (1 - _ROUND_OFF)))
        return min(counts) // self.every if counts else None


def require_equal_intervals(moments: Sequence[Moment]) -> None:
    """Refuse snapshots that are too few or not equally spaced in time.

    Raises
    ------
    CaseError
        They are.
    """
    if len(moments) < 2:
        raise CaseError(
            f"learning needs snapshots, got {len(moments)}; tell more steps, or sample more often"
        )
    first, count = moments[0].time, len(moments) - 1
    interval = (moments[-1].time - first) / count
    for n, moment in enumerate(moments):
        expected = first + n * interval
        if abs(moment.time - expected) > _ROUND_OFF * count * abs(interval):
            raise CaseError(
                f"snapshots must be equally spaced, that of step {moment.step} is at t = {moment.time:g}, expected "
                f"{expected:g}; give sampling.interval and let steps end at those times"
            )


def require_finite(snapshots: Float[Tensor, "time dof"], moments: Sequence[Moment]) -> None:
    """Refuse snapshots that are not finite.

    Raises
    ------
    DivergenceError
        It names the first of them.
    """
    is_finite = torch.isfinite(snapshots).all(dim=1)
    if not bool(is_finite.all()):
        bad = moments[int((~is_finite).nonzero()[0])]
        raise DivergenceError(
            f"the fields must stay finite, they are not at step {bad.step} (time {bad.time:g}); look at the application",
            bad.step,
            bad.time,
            (),
        )

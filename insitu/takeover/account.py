"""What a run has lost of its accuracy so far, and what it may still lose."""

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

__all__ = ["Account"]

_RATES = 4  # measurements of the growth rate that count
_MOST = 700.0  # exp of more is no float64
_MARGIN = 1.25  # on top of an estimate that was found too low


class Account:
    """The estimated distance E of a run from that of the solver alone, in the 2-norm of the state.

    Over an interval h, E becomes exp(σ h) E + κ |d|: what it was, grown at the rate σ at which the equation separates states,
    and the new defect d with a safety factor κ. An interval is affordable while E, grown until the end of the run, stays within
    the tolerance there, and while its own part is no more than ``generosity`` times its share of what is left, by time.

    Parameters
    ----------
    tolerance : float
        Of the final state: its distance from the solver's, relative to its size.
    safety : float
        κ at the beginning. It only rises: `correct` multiplies it where the solver finds an estimate too low.
    growth : float
        Known lower bound of σ, 1/time: the largest Lyapunov exponent of a chaotic equation for instance. σ is the largest of
        this, 0, and the last four measurements.
    generosity : float

    Attributes
    ----------
    error : float
        E, in the unit of the state's 2-norm.
    corrections : int
        Estimates that were found too low.
    """

    def __init__(
        self, tolerance: float, safety: float = 2.0, growth: float = 0.0, generosity: float = 3.0
    ):
        self.tolerance, self.safety, self.generosity = tolerance, safety, generosity
        self.error = 0.0
        self.corrections = 0
        self._growth = growth
        self._rates: deque[float] = deque(maxlen=_RATES)
        self._size, self._shrinkage = math.nan, 0.0

    @property
    def rate(self) -> float:
        """σ, 1/time."""
        return max(0.0, self._growth, *self._rates)

    def measure(self, rate: float) -> None:
        """Note a measured growth rate."""
        self._rates.append(rate)

    def note_size(self, size: float, duration: float) -> None:
        """Note the state's 2-norm after so much time: where it shrinks, so does what the tolerance allows at the end."""
        if math.isfinite(self._size) and min(self._size, size) > 0:
            self._shrinkage = max(0.0, math.log(self._size / size) / duration)
        self._size = size

    def affords(self, defect: float, size: float, duration: float, left: float) -> bool:
        """Whether an interval of a defect, to a state of a size, may be taken over.

        Parameters
        ----------
        defect, size : float
            2-norms of the defect and of the state at the end of the interval.
        duration, left : float
            Of the interval, and the time that is left after it.
        """
        local = _grown(self.safety * defect, self.rate * left)
        before = _grown(self.error, self.rate * (duration + left))
        allowed = self.tolerance * size * math.exp(-self._shrinkage * left)
        share = min(1.0, self.generosity * duration / (duration + left))
        return bool(local <= share * (allowed - before))

    def state_dict(self) -> dict[str, Any]:
        """Return what has been measured and spent."""
        return {
            "error": self.error,
            "safety": self.safety,
            "corrections": self.corrections,
            "rates": list(self._rates),
            "size": [self._size, self._shrinkage],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self.error, self.safety = state["error"], state["safety"]
        self.corrections = state["corrections"]
        self._rates = deque(state["rates"], maxlen=_RATES)
        self._size, self._shrinkage = state["size"]

    def wait(self, duration: float) -> None:
        """Let the error grow over time that adds nothing to it."""
        self.error = _grown(self.error, self.rate * duration)

    def spend(self, defect: float, duration: float) -> None:
        """Add an interval that is taken over."""
        self.wait(duration)
        self.error += self.safety * defect

    def correct(self, error: float, defect: float) -> bool:
        """Compare the true error of an interval with its estimate; return whether it was too low.

        What was spent before was estimated in the same way, so it is raised by the same factor.
        """
        if error <= self.safety * defect:
            return False
        factor = _MARGIN * error / (self.safety * defect) if defect else math.inf
        self.safety *= factor
        self.error *= factor if self.error else 1.0
        self.corrections += 1
        return True

    def exceeds(self, size: float) -> bool:
        """Whether the error may be above the tolerance for a state of a 2-norm; also where it is not known."""
        return not self.error <= self.tolerance * size


def _grown(error: float, exponent: float) -> float:
    return error * math.exp(min(exponent, _MOST)) if error else 0.0

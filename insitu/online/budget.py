"""A controller that holds the solver's slowdown under a budget by holding the trainer back."""

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["SlowdownBudget"]


class SlowdownBudget:
    """The share of time in which a trainer may run, from how long the solver's bursts take with it and without.

    p95(with) ≤ (1 + b) p95(without) holds where at most 5 % of the bursts with training exceed the threshold
    (1 + b) p95(without). After each burst the duty d, the share of time the trainer runs, takes a step

        d ← d + γ (α − e),   e = 1 where the burst exceeded the threshold, else 0,

    with α a little below 5 %. While d ≤ 0 the trainer rests. As the sum telescopes, e averages to α + O(1/(γ n)) over n bursts,
    whatever the bursts depend on, as long as rest brings e below α; where nothing exceeds, d reaches 1 and stays.

    The threshold comes from undisturbed bursts: the first ones of the run, those of short rests at regular intervals, and
    those in which d ≤ 0. The host's clock is not read here: the caller measures.

    Parameters
    ----------
    inflation
        The budget b.
    quantile
        The quantile it holds for.
    gain
        γ.
    baseline
        Undisturbed bursts before training begins.
    cycle, rest
        After every `cycle` − `rest` bursts the trainer rests until `rest` bursts were undisturbed.
    memory
        Undisturbed bursts that the threshold is taken from, the newest.

    Raises
    ------
    ValueError
        A value is out of its range.

    Notes
    -----
    Source of the update and its bound: Gibbs & Candès 2021, proposition 4.1, arXiv:2106.00170.
    """

    TARGET = 0.8  # of 1 - quantile: what the threshold, itself measured, may be wrong by
    DEBT = -0.5  # the lowest duty: how long a rest the past can ask for

    def __init__(
        self,
        inflation: float = 0.1,
        quantile: float = 0.95,
        gain: float = 0.05,
        baseline: int = 40,
        cycle: int = 100,
        rest: int = 10,
        memory: int = 400,
    ) -> None:
        for name, valid, expected in (
            ("inflation", inflation > 0, "> 0"),
            ("quantile", 0 < quantile < 1, "in (0, 1)"),
            ("gain", 0 < gain < 1, "in (0, 1)"),
            ("baseline", baseline >= 1, ">= 1"),
            ("rest", 0 < rest < cycle, f"in (0, cycle = {cycle})"),
            ("memory", memory >= baseline, f">= baseline = {baseline}"),
        ):
            if not valid:
                raise ValueError(
                    f"slowdown budget: expected {name} {expected}, got {locals()[name]}; correct it"
                )
        self.inflation, self.quantile, self.gain = inflation, quantile, gain
        self.baseline, self.cycle, self.rest = baseline, cycle, rest
        self.bursts = 0
        self.exceeded = 0
        self._until_rest, self._rest_left = cycle - rest, 0
        self._duty = 0.0
        self._undisturbed: deque[float] = deque(maxlen=memory)
        self._threshold: float | None = None
        self._with_training: deque[float] = deque(maxlen=10 * memory)
        self._duties = 0.0

    @property
    def duty(self) -> float:
        """Share of time in which the trainer may run now: 0 (it rests) to 1."""
        if len(self._undisturbed) < self.baseline or self._rest_left:
            return 0.0
        return min(1.0, max(0.0, self._duty))

    @property
    def threshold(self) -> float:
        """Seconds that the quantile of the bursts with training should stay under; infinite before there is a baseline."""
        if len(self._undisturbed) < self.baseline:
            return math.inf
        if self._threshold is None:
            self._threshold = (1 + self.inflation) * self._at_quantile(self._undisturbed)
        return self._threshold

    def record(self, seconds: float, undisturbed: bool) -> None:
        """Take account of a burst.

        Parameters
        ----------
        seconds
            How long it took, or a step of it.
        undisturbed
            Whether the trainer rested all the while.
        """
        threshold = self.threshold
        if undisturbed:
            self._undisturbed.append(seconds)
            self._threshold = None
        if threshold == math.inf:
            return
        self._count_down(undisturbed)
        self.bursts += 1
        self._with_training.append(seconds)
        exceeds = seconds > threshold
        self.exceeded += exceeds
        self._duties += self.duty
        step = self.gain * (self.TARGET * (1 - self.quantile) - exceeds)
        self._duty = min(1.0, max(self.DEBT, self._duty + step))

    def summary(self) -> dict[str, Any]:
        """Return what was achieved.

        inflation: growth of the quantile over all bursts since training was allowed, rests included, against the undisturbed
        ones, of the newest; None before there are any. duty: its mean and its value now. exceeded: share of the bursts above
        the threshold.
        """
        achieved = None
        if self._with_training:
            achieved = (
                self._at_quantile(self._with_training) / self._at_quantile(self._undisturbed) - 1
            )
        return {
            "budget": self.inflation,
            "quantile": self.quantile,
            "inflation": achieved,
            "undisturbed_seconds": self._at_quantile(self._undisturbed)
            if self._undisturbed
            else None,
            "bursts": self.bursts,
            "exceeded": self.exceeded / max(1, self.bursts),
            "duty": self.duty,
            "mean_duty": self._duties / max(1, self.bursts),
        }

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` takes."""
        return {
            "bursts": self.bursts,
            "exceeded": self.exceeded,
            "rest": [self._until_rest, self._rest_left],
            "duty": self._duty,
            "duties": self._duties,
            "undisturbed": list(self._undisturbed),
            "with_training": list(self._with_training),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self.bursts, self.exceeded = state["bursts"], state["exceeded"]
        self._until_rest, self._rest_left = state["rest"]
        self._duty, self._duties = state["duty"], state["duties"]
        self._undisturbed.clear()
        self._undisturbed.extend(state["undisturbed"])
        self._with_training.clear()
        self._with_training.extend(state["with_training"])
        self._threshold = None

    def _count_down(self, undisturbed: bool) -> None:
        """Begin a rest where it is due, and end it when enough bursts were undisturbed."""
        if self._rest_left:
            self._rest_left -= undisturbed
            self._until_rest = self.cycle - self.rest
        else:
            self._until_rest -= 1
            self._rest_left = 0 if self._until_rest else self.rest

    def _at_quantile(self, seconds: deque[float]) -> float:
        """Return the order statistic that a share of `quantile` does not exceed."""
        rank = math.ceil(self.quantile * len(seconds)) - 1
        return float(np.partition(np.fromiter(seconds, float, len(seconds)), rank)[rank])

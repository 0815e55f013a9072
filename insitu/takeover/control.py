"""What a takeover is allowed, and what teaches its surrogate."""

import math
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

__all__ = ["Control", "Trainer"]


@runtime_checkable
class Trainer(Protocol):
    """What learns from the pairs of states that the solver makes.

    With ``state_dict`` and ``load_state_dict`` beside these, see `insitu.distributed`, a run with it can be resumed.

    Attributes
    ----------
    error : float or None
        Of one interval on pairs that were held out, relative to the size of the state; None before there is one. The same on
        every rank.
    """

    @property
    def error(self) -> float | None:
        """See the class."""

    def offer(
        self,
        before: Float[Tensor, "batch components *points"],
        after: Float[Tensor, "batch components *points"],
    ) -> None:
        """Take a pair one interval apart, copies of this rank's block and members (a batch); learn when it likes."""


@dataclass(frozen=True)
class Control:
    """When a surrogate may stand in for the solver.

    Parameters
    ----------
    tolerance
        Of the final state: its estimated distance from that of the solver alone, relative to its size in the 2-norm.
    relaxation
        Solver steps after each proposal, as a part of the surrogate's interval.
    ahead
        Intervals taken over in a row before the solver takes one that was proposed, to verify the estimates.
    safety
        Factor on defects.
    growth
        Lower bound of the rate at which errors grow, 1/time; the largest Lyapunov exponent of a chaotic equation.
    generosity
        How many times its share of the tolerance left, by time, an interval may use.
    promising
        Error of the trainer from which on proposals are made; null: a tenth of the tolerance.
    fed
        Pairs offered to the trainer in each burst of the solver, at most.

    Raises
    ------
    ValueError
        A value is out of its range.
    """

    tolerance: float = 1e-2
    relaxation: float = 0.125
    ahead: int = 16
    safety: float = 2.0
    growth: float = 0.0
    generosity: float = 3.0
    promising: float | None = None
    fed: int = 4

    def __post_init__(self) -> None:
        for name in ("tolerance", "safety", "generosity"):
            _require(0 < getattr(self, name) < math.inf, name, "> 0", getattr(self, name))
        for name in ("relaxation", "growth"):
            _require(0 <= getattr(self, name) < math.inf, name, ">= 0", getattr(self, name))
        for name in ("ahead", "fed"):
            _require(getattr(self, name) >= 1, name, ">= 1", getattr(self, name))


def _require(valid: bool, name: str, expected: str, got: Any) -> None:
    if not valid:
        raise ValueError(f"takeover.{name} must be {expected}, got {got}; correct the case")

"""What was decided along a run, and why."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = ["Decision", "Decisions", "Kind"]

Kind = Literal["solved", "accepted", "rejected", "verified", "underestimated"]


@dataclass(frozen=True)
class Decision:
    """One decision.

    Attributes
    ----------
    kind
        "solved": the solver took the steps. "accepted": a proposal did. "rejected": a proposal did not, nothing changed.
        "verified": a proposal passed, the solver took the steps nevertheless, and the estimate covered its error.
        "underestimated": the same, but it did not.
    step, time
        Where the simulation stood.
    steps
        Of the interval.
    defect
        Relative 2-norm of the proposal's defect; None where there was none.
    true_error
        Its relative error where the solver has found it.
    error
        Estimated relative distance from a run of the solver alone, after the decision.
    rate
        Growth rate of errors that was assumed, 1/time.
    safety
        Factor on defects.
    """

    kind: Kind
    step: int
    time: float
    steps: int
    defect: float | None
    true_error: float | None
    error: float
    rate: float
    safety: float


@dataclass
class Decisions:
    """All decisions of a run, in order, the same on every rank.

    Attributes
    ----------
    entries
    tolerance
        Relative, of the final state.
    violated
        Whether the error may be above the tolerance at the end; None before.
    """

    tolerance: float
    entries: list[Decision] = field(default_factory=list)
    violated: bool | None = None

    def count(self, kind: Kind) -> int:
        """Return how many decisions are of a kind."""
        return Counter(entry.kind for entry in self.entries)[kind]

    def steps(self, *kinds: Kind) -> int:
        """Return the steps of decisions of some kinds."""
        return sum(entry.steps for entry in self.entries if entry.kind in kinds)

    @property
    def rejection_rate(self) -> float:
        """Rejected proposals among all; 0 where there were none."""
        proposals = len(self.entries) - self.count("solved")
        return self.count("rejected") / proposals if proposals else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the log for a report, as plain values."""
        kinds: tuple[Kind, ...] = ("solved", "accepted", "rejected", "verified", "underestimated")
        return {
            "tolerance": self.tolerance,
            "estimated_error": self.entries[-1].error if self.entries else 0.0,
            "violated": self.violated,
            "decisions": {kind: self.count(kind) for kind in kinds},
            "steps_taken_over": self.steps("accepted"),
            "log": [asdict(entry) for entry in self.entries],
        }

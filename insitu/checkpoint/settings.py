"""What a case says about checkpoints."""

from dataclasses import dataclass

from insitu.case_errors import CaseError

__all__ = ["Checkpoint"]


@dataclass(frozen=True)
class Checkpoint:
    """When a run writes all that the rest of it depends on, and how many of these it keeps.

    Parameters
    ----------
    seconds
        Wall time between two checkpoints, about what a kill can cost; null: none by the clock.
    steps
        Steps of the solver between two checkpoints, at the first moment after so many; null: none by steps.
    keep
        Complete checkpoints to keep, the newest; when the run has finished they are removed.
    keep_finished
        Keep them then too, the last one of the end of the time loop.
    """

    seconds: float | None = 600.0
    steps: int | None = None
    keep: int = 2
    keep_finished: bool = False

    def __post_init__(self) -> None:
        for name, least in (("seconds", 0.0), ("steps", 1), ("keep", 1)):
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise CaseError(
                    f"checkpoint.{name} must be {least:g} or more, got {value}; correct the case"
                )

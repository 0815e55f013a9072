"""How much may pass the host in a run, as its case says it."""

from dataclasses import dataclass, field

from insitu.audit.lines import Line, table
from insitu.case_errors import CaseError

__all__ = ["STAGES", "TransferBudgetError", "Transfers"]

STAGES = (
    "setup",
    "time loop",
    "check",
    "reduction",
    "training",
    "rollout",
    "surrogates",
    "report",
)


class TransferBudgetError(RuntimeError):
    """A run moved more field data between device and host than its case allows."""


@dataclass(frozen=True)
class Transfers:
    """How much field data may pass between device and host, all ranks together; a run that moves more fails.

    In host modes copies between the solver's memory and host arrays count, which cross on a GPU.

    Parameters
    ----------
    per_step
        Bytes for each step of the time loop; null: any.
    stages
        Bytes in a stage of the run by its name: setup, time loop, check, reduction, training, rollout, surrogates, report.
    """

    per_step: int | None = None
    stages: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.stages) - set(STAGES))
        if unknown:
            raise CaseError(
                f"transfers.stages must name stages of a run, {', '.join(STAGES)}, got {unknown[0]!r}; correct it"
            )
        for limit in (self.per_step, *self.stages.values()):
            if limit is not None and limit < 0:
                raise CaseError(f"transfers must be 0 or more bytes, got {limit}; correct it")

    def limit(self, stage: str, steps: int) -> int | None:
        """Return the bytes a stage may move, None for any; of the time loop after so many steps."""
        limits = [self.stages[stage]] if stage in self.stages else []
        if stage == "time loop" and self.per_step is not None:
            limits.append(self.per_step * steps)
        return min(limits, default=None)

    def check(self, stage: str, steps: int, moved: int, lines: list[Line]) -> None:
        """Compare what passed the host on all ranks with what may.

        Raises
        ------
        TransferBudgetError
            It was more; with the ledger of this rank.
        """
        limit = self.limit(stage, steps)
        if limit is None or moved <= limit:
            return
        passed = [line for line in lines if line.passes_host]
        raise TransferBudgetError(
            f"the stage '{stage}' may move {limit} bytes of field data between device and host in {steps} steps, it moved "
            f"{moved}; keep them on the device, or raise transfers in the case:\n{table(passed)}"
        )

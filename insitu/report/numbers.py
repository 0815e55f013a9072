"""The numbers of a run: ``report.json``."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from insitu.config import as_yaml
from insitu.forecasting import SplitResult
from insitu.reduction import POD, StreamingPOD
from insitu.report.folder import replace_file
from insitu.report.page import write_page
from insitu.sampler import Sampler
from insitu.solution import Solution
from insitu.surrogates import SurrogateForecast
from insitu.timing import Ledger, of_all_ranks
from insitu.training import TrainingRecord
from solver import DivergenceError

__all__ = ["Report", "finite"]


@dataclass
class Report:
    """The numbers of a run, as written to ``report.json``.

    Attributes
    ----------
    case
        The resolved case.
    provenance
        Versions, OCCA's origin, device, git commit.
    status
        "running", "finished", "unfinished" (stopped with a checkpoint), "diverged" or "failed".
    error
        What stopped the run, else null.
    simulation
        Points, shape of the state ([members,] components, *points), steps, time, stability limit; and of each rank its members
        and its block.
    sampling
        Snapshots taken and held, the first and last step held, bytes of one.
    stages
        Seconds of the slowest rank and bytes of all ranks in each stage, see `insitu.timing.Stage`; of a run that failed those of
        the rank that wrote this.
    learning
        By split: rank, spans, projection error, and for each model rel-L2 of the free rollout, the one-step R², its losses; of a
        `StreamingPOD` also the snapshots it has seen and its error bound over all of them, relative to their norm.
    online
        What was trained while the simulation ran, see `insitu.online.run.OnlineRun.summary`; empty where nothing was.
    surrogates
        By core: rel-L2 of the free rollout over the forecast span, and over members never seen, beside that of persistence.
    driver
        Of a takeover: every decision, the estimated error at the end, and whether it may be above the tolerance. Of a closure:
        the evaluations of its model.
    fields
        Of the file of the fields over time: its name, states, variables, bytes, and the seconds that the time loop spent on it,
        waiting for the file included; empty where none was asked for.
    """

    case: Mapping[str, Any]
    provenance: Mapping[str, Any]
    status: str = "running"
    error: str | None = None
    simulation: dict[str, Any] = field(default_factory=dict)
    sampling: dict[str, Any] = field(default_factory=dict)
    stages: list[dict[str, Any]] = field(default_factory=list)
    learning: dict[str, Any] = field(default_factory=dict)
    online: dict[str, Any] = field(default_factory=dict)
    surrogates: dict[str, Any] = field(default_factory=dict)
    driver: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)

    def add_simulation(self, simulation: Solution, sampler: Sampler, ledger: Ledger) -> None:
        """Take over where the simulation stands and what was sampled."""
        self.simulation = {
            "points": list(simulation.grid.whole.points),
            "shape": list(simulation.shape),
            "ranks": simulation.shares,
            "steps": simulation.step,
            "time": simulation.time,
            "dt": simulation.dt_taken,
            "stability_limit": simulation.limit,
        }
        moments = sampler.moments
        self.sampling = {
            "taken": sampler.taken,
            "held": len(moments),
            "first_step": moments[0].step if moments else None,
            "last_step": moments[-1].step if moments else None,
            "snapshot_bytes": math.prod(simulation.shape) * simulation.u.dtype.itemsize,
        }
        stages = ledger.as_list()
        self.stages = stages if self.error else of_all_ranks(stages, simulation.comm)

    def add_split(self, split: str, result: SplitResult) -> None:
        """Take over the numbers of one split."""
        self.learning[split] = {
            "rank": result.basis.modes_.shape[0],
            "train_snapshots": result.train,
            "forecast_snapshots": len(result.coefficients) - result.train,
            "projection_error": result.projection_error,
            **_bound(result.basis),
            "models": {
                name: {
                    "field_error": forecast.field_error,
                    "coefficient_error": forecast.coefficient_error,
                    "one_step_r2": forecast.one_step_r2,
                    "epochs": len(forecast.training.loss) if forecast.training else None,
                    "seconds": forecast.training.seconds if forecast.training else None,
                    "training": _losses(forecast.training),
                }
                for name, forecast in result.forecasts.items()
            },
        }

    def add_surrogates(self, found: Mapping[str, SurrogateForecast]) -> None:
        """Take over the numbers of the surrogates."""
        self.surrogates = {
            name: {
                "field_error": each.field_error,
                "persistence_error": each.persistence_error,
                "unseen_error": each.unseen_error,
                "unseen_persistence_error": each.unseen_persistence_error,
                "weights": sum(weight.numel() for weight in each.surrogate.parameters()),
                "epochs": len(each.training.loss),
                "seconds": each.training.seconds,
                "training": _losses(each.training),
            }
            for name, each in found.items()
        }

    def fail(self, error: BaseException) -> None:
        """Note what ended the run early."""
        self.status = "diverged" if isinstance(error, DivergenceError) else "failed"
        self.error = str(error) or type(error).__name__

    def table(self) -> str:
        """Return the forecast errors as text, one line per split and model."""
        lines = [
            f"{'split':<10} {'model':<12} {'field rel-L2':>12} {'coeff. rel-L2':>13} {'one-step R2':>12}"
        ]
        for split, numbers in self.learning.items():
            lines += [
                f"{split:<10} {name:<12} {m['field_error']:>12.4f} {m['coefficient_error']:>13.4f} "
                f"{m['one_step_r2']:>12.6f}"
                for name, m in numbers["models"].items()
            ]
            lines.append(f"{split:<10} {'(projection)':<12} {numbers['projection_error']:>12.4f}")
        for name, numbers in self.surrogates.items():
            lines.append(f"{'surrogate':<10} {name:<12} {numbers['field_error']:>12.4f}")
            if numbers["unseen_error"] is not None:
                lines.append(f"{'':<10} {'- unseen':<12} {numbers['unseen_error']:>12.4f}")
        return "\n".join(lines)

    def write(self, folder: Path) -> None:
        """Write ``report.json`` and ``case.yaml``."""
        replace_file(folder / "report.json", json.dumps(finite(asdict(self)), indent=2) + "\n")
        replace_file(folder / "case.yaml", as_yaml(self.case))

    def finish(self, folder: Path, simulation: Solution, sampler: Sampler, ledger: Ledger) -> None:
        """Close the run, however it ended: where it stands and its stage times, written by rank 0.

        A rank that failed waits for nobody, and writes what it knows.
        """
        self.add_simulation(simulation, sampler, ledger)
        if simulation.ranks.rank and not self.error:
            return
        self.write(folder)

    def show(self, folder: Path, simulation: Solution) -> None:
        """Draw the figures and write the page of what is in the run directory, by rank 0; by a rank that failed, too."""
        if simulation.ranks.rank == 0 or self.error:
            write_page(folder)


def _losses(record: TrainingRecord | None) -> dict[str, Any] | None:
    """Return what the figure of a training shows."""
    if record is None:
        return None
    return {
        "loss": record.loss,
        "validation_loss": record.validation_loss,
        "best_epoch": record.best_epoch,
    }


def _bound(basis: POD) -> dict[str, Any]:
    """Return what a streaming basis knows of all the snapshots it has seen."""
    if not isinstance(basis, StreamingPOD):
        return {}
    return {
        "basis_snapshots": basis.n_samples_seen_,
        "error_bound": basis.error_bound_ / basis.norm_,
    }


def finite(value: Any) -> Any:
    """Return plain values with NaN and infinities as text, which JSON has no numbers for."""
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value

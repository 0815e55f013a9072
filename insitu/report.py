"""What a run leaves behind: report.json, series.csv, basis.npz, model.pt, case.yaml and figures."""

import csv
import json
import math
import os
import platform
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from insitu import figures
from insitu.bridge import to_host
from insitu.collectives import on_first
from insitu.config import CaseError, as_yaml
from insitu.field_figures import draw_evolution, draw_mode_shapes
from insitu.forecasting import SplitResult
from insitu.online.run import OnlineRun
from insitu.reduction import POD, StreamingPOD
from insitu.sampler import Sampler
from insitu.surrogates import SurrogateForecast
from insitu.timing import Ledger, of_all_ranks
from insitu.views import View
from solver import Device, DivergenceError, Moment, Simulation, build_information

__all__ = [
    "Report",
    "draw_field",
    "finite",
    "prepare_folder",
    "provenance",
    "save_online",
    "save_snapshots",
    "save_split",
    "save_surrogates",
]

_OUTPUTS = (
    "report.json",
    "convergence.json",
    "case.yaml",
    "series.csv",
    "basis.npz",
    "model.pt",
    "online.pt",
    "surrogates.pt",
    "snapshots.npz",
    "forecast.npz",
)
_PACKAGES = ("insitu", "numpy", "torch", "scikit-learn", "mpi4py", "matplotlib")


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
        By split: rank, spans, projection error, and for each model rel-L2 of the free rollout and the one-step R²; of a
        `StreamingPOD` also the snapshots it has seen and its error bound over all of them, relative to their norm.
    online
        What was trained while the simulation ran, see `insitu.online.run.OnlineRun.summary`; empty where nothing was.
    surrogates
        By core: rel-L2 of the free rollout over the forecast span, and over members never seen, beside that of persistence.
    driver
        Of a takeover: every decision, the estimated error at the end, and whether it may be above the tolerance. Of a closure:
        the evaluations of its model.
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

    def add_simulation(self, simulation: Simulation, sampler: Sampler, ledger: Ledger) -> None:
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
        _replace(folder / "report.json", json.dumps(finite(asdict(self)), indent=2) + "\n")
        _replace(folder / "case.yaml", as_yaml(self.case))

    def finish(
        self, folder: Path, simulation: Simulation, sampler: Sampler, ledger: Ledger
    ) -> None:
        """Close the run, however it ended: where it stands, its stage times, drawn and written by rank 0.

        A rank that failed waits for nobody, and writes what it knows.
        """
        self.add_simulation(simulation, sampler, ledger)
        if simulation.ranks.rank and not self.error:
            return
        figures.draw_stage_times(folder / "figures" / "stage_times.png", self.stages)
        self.write(folder)


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


def prepare_folder(folder: Path, comm: Any = None, resumes: bool = False) -> None:
    """Make the run directory and clear it of an earlier run's results, before anything is computed; rank 0 does it for all.

    Of a run that goes on from a checkpoint nothing is removed.

    Raises
    ------
    CaseError
        It cannot be written.
    """
    on_first(comm, lambda: _prepare(folder, resumes), torch.device("cpu"))


def _prepare(folder: Path, resumes: bool) -> None:
    try:
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        if resumes:
            return
        stale = [*(folder / "figures").glob("*.png"), *folder.glob("basis-*.npz")]
        stale += [*folder.glob("snapshots-*.npz"), *(folder / name for name in _OUTPUTS)]
        for file in stale:
            file.unlink(missing_ok=True)
    except OSError as error:
        raise CaseError(
            f"the output directory must be writable, got '{error.strerror}' for {folder}; choose another with --output"
        ) from None


def provenance(device: Device) -> dict[str, Any]:
    """Return versions, OCCA's origin, device, and the git commit of the sources where there is one."""
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = None
    return {
        "versions": {
            "python": platform.python_version(),
            **{name: _version(name) for name in _PACKAGES},
        },
        "occa": build_information(),
        "device": str(device),
        "git_commit": commit,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def draw_field(folder: Path, simulation: Simulation, sampler: Sampler, ledger: Ledger) -> None:
    """Draw the evolution of the field from the snapshots held; all ranks call it."""
    times = np.array([moment.time for moment in sampler.moments])
    picture = folder / "figures" / "field_evolution.png"
    draw_evolution(picture, View.of(simulation), times, sampler.snapshots, ledger)


def save_snapshots(folder: Path, simulation: Simulation, sampler: Sampler) -> None:
    """Write the snapshots of a run that ended early: ``snapshots.npz``, on several ranks ``snapshots-0003.npz`` of rank 3.

    Coordinates x, y, z (points along the axis,), step and time (n,), u (n, dof), and the shape
    ``([members,] components, *points)`` of a row of u; the rank's own members and points of each.
    """
    axes: dict[str, Any] = dict(zip("xyz", simulation.grid.axes(), strict=False))
    np.savez(
        part_name(folder / "snapshots.npz", simulation),
        **axes,
        step=[moment.step for moment in sampler.moments],
        time=[moment.time for moment in sampler.moments],
        shape=simulation.u.shape,
        u=to_host(sampler.snapshots),
    )


def save_split(
    folder: Path,
    simulation: Simulation,
    moments: Sequence[Moment],
    result: SplitResult,
    ledger: Ledger,
) -> None:
    """Write basis, model, series and figures of the split a run is known by; all ranks call it.

    Each rank writes the modes of its own members and block; the rest, which all have, rank 0 writes.
    """
    times = np.array([moment.time for moment in moments])
    result.basis.save(part_name(folder / "basis.npz", simulation))
    pictures = folder / "figures"
    values = ledger.to_host(result.basis.singular_values_)
    view = View.of(simulation)
    draw_mode_shapes(pictures / "modes.png", view, result.basis.modes_, values, ledger)
    if not view.is_drawn_here:
        return
    _save_model(folder / "model.pt", times, result)
    truth = ledger.to_host(result.coefficients)
    forecasts = {
        name: ledger.to_host(forecast.coefficients) for name, forecast in result.forecasts.items()
    }
    _write_series(folder / "series.csv", moments, truth, result.train, forecasts)

    figures.draw_mode_forecasts(pictures, times, truth, result.train, forecasts)
    records = {
        name: forecast.training for name, forecast in result.forecasts.items() if forecast.training
    }
    if records:
        figures.draw_training(pictures / "training.png", records)


def save_online(folder: Path, online: OnlineRun) -> None:
    """Write the module that was trained beside the simulation, and draw its losses; rank 0 does for all."""
    if online.simulation.ranks.rank == 0:
        online.save(folder / "online.pt")
        figures.draw_online(folder / "figures" / "online.png", online.summary())


def save_surrogates(folder: Path, found: Mapping[str, SurrogateForecast]) -> None:
    """Write the weights, statistics and intervals of the surrogates, by core: ``surrogates.pt``."""
    states = {name: each.surrogate.state_dict() for name, each in found.items()}
    torch.save(states, folder / "surrogates.pt")


def part_name(file: Path, simulation: Simulation) -> Path:
    """Return the name of this rank's part of a file: of the whole where it is alone."""
    if simulation.comm is None:
        return file
    return file.with_stem(f"{file.stem}-{simulation.ranks.rank:04d}")


def _replace(file: Path, text: str) -> None:
    """Write a file whole or not at all."""
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    unfinished.write_text(text)
    unfinished.replace(file)


def _save_model(file: Path, times: np.ndarray, result: SplitResult) -> None:
    """Write the case's model (the first forecast) with the states and the time its forecast starts from."""
    model = next(iter(result.forecasts.values())).model
    history = result.coefficients[result.train - model.history : result.train].clone()
    start, interval = float(times[result.train - 1]), float(times[1] - times[0])
    torch.save(
        {"model": model.state_dict(), "history": history, "time": start, "interval": interval}, file
    )


def _write_series(
    file: Path,
    moments: Sequence[Moment],
    truth: np.ndarray,
    train: int,
    forecasts: Mapping[str, np.ndarray],
) -> None:
    """Write step, time, span, the true coefficients, and each model's where it forecasts."""
    rank = truth.shape[1]
    header = ["step", "time", "span", *(f"a{k}" for k in range(rank))]
    header += [f"{name}_a{k}" for name in forecasts for k in range(rank)]
    with open(file, "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        for row, (moment, known) in enumerate(zip(moments, truth, strict=True)):
            span = "train" if row < train else "forecast"
            rolled = [
                rows[row - train] if row >= train else [""] * rank for rows in forecasts.values()
            ]
            writer.writerow(
                [
                    moment.step,
                    moment.time,
                    span,
                    *known,
                    *(value for values in rolled for value in values),
                ]
            )

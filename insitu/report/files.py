"""What a run leaves beside its numbers: snapshots, basis, models, series, and what its figures show."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from insitu.bridge import to_host
from insitu.forecasting import SplitResult
from insitu.online.run import OnlineRun
from insitu.report.folder import part_name
from insitu.report.shown import shown_of_field, shown_of_modes
from insitu.sampler import Sampler
from insitu.solution import Solution
from insitu.surrogates import SurrogateForecast
from insitu.timing import Ledger
from insitu.views import View
from solver import Moment

__all__ = ["save_field", "save_online", "save_snapshots", "save_split", "save_surrogates"]


def save_field(folder: Path, simulation: Solution, sampler: Sampler, ledger: Ledger) -> None:
    """Write what the figure of the evolution shows of the snapshots held, ``figures/field_evolution.npz``; all ranks call it."""
    times = np.array([moment.time for moment in sampler.moments])
    shown = shown_of_field(View.of(simulation), times, sampler.snapshots, ledger)
    if shown is not None:
        np.savez(folder / "figures" / "field_evolution.npz", **shown)  # type: ignore[arg-type]


def save_snapshots(folder: Path, simulation: Solution, sampler: Sampler) -> None:
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
    simulation: Solution,
    moments: Sequence[Moment],
    result: SplitResult,
    ledger: Ledger,
) -> None:
    """Write basis, model and series of the split a run is known by, and what the figures show of its modes; all ranks call it.

    Each rank writes the modes of its own members and block; the rest, which all have, rank 0 writes.
    """
    times = np.array([moment.time for moment in moments])
    result.basis.save(part_name(folder / "basis.npz", simulation))
    values = ledger.to_host(result.basis.singular_values_)
    shown = shown_of_modes(View.of(simulation), result.basis.modes_, values, ledger)
    if shown is None:
        return
    np.savez(folder / "figures" / "modes.npz", **shown)  # type: ignore[arg-type]
    _save_model(folder / "model.pt", times, result)
    truth = ledger.to_host(result.coefficients)
    forecasts = {
        name: ledger.to_host(forecast.coefficients) for name, forecast in result.forecasts.items()
    }
    _write_series(folder / "series.csv", moments, truth, result.train, forecasts)


def save_online(folder: Path, online: OnlineRun) -> None:
    """Write the module that was trained beside the simulation; rank 0 does for all."""
    if online.simulation.ranks.rank == 0:
        online.save(folder / "online.pt")


def save_surrogates(folder: Path, found: Mapping[str, SurrogateForecast]) -> None:
    """Write the weights, statistics and intervals of the surrogates, by core: ``surrogates.pt``."""
    states = {name: each.surrogate.state_dict() for name, each in found.items()}
    torch.save(states, folder / "surrogates.pt")


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

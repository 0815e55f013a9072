"""The figures of a report, drawn without a display and without touching matplotlib's global state."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from insitu.training import TrainingRecord

__all__ = [
    "draw_field_evolution",
    "draw_modes",
    "draw_mode_forecasts",
    "draw_stage_times",
    "draw_training",
]

_TRUTH = {"color": "black", "linewidth": 1.8, "label": "solver"}
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
_PROFILES = 5
_MODES = 8  # drawn at most


def draw_field_evolution(
    path: Path, x: np.ndarray, times: np.ndarray, snapshots: np.ndarray
) -> None:
    """Draw the field over space and time, and profiles at equal intervals; snapshots are (time, points)."""
    figure, (plane, profiles) = _figure(1, 2, 10.0, 4.0)
    shading = plane.pcolormesh(
        x, times, snapshots, cmap="RdBu_r", rasterized=True, shading="nearest"
    )
    figure.colorbar(shading, ax=plane, label="u")
    plane.set(xlabel="x", ylabel="t", title="field evolution")
    chosen = np.unique(np.linspace(0, len(times) - 1, _PROFILES).round().astype(int))
    for n, row in enumerate(chosen):
        profiles.plot(
            x,
            snapshots[row],
            color=str(0.75 * (1 - n / max(1, len(chosen) - 1))),
            label=f"t = {times[row]:.3g}",
        )
    profiles.set(xlabel="x", ylabel="u", title="profiles")
    profiles.legend(frameon=False)
    figure.savefig(path)


def draw_modes(path: Path, x: np.ndarray, modes: np.ndarray, singular_values: np.ndarray) -> None:
    """Draw the modes (rank, points) and the decay of the singular values."""
    figure, (shapes, decay) = _figure(1, 2, 10.0, 4.0)
    for k, mode in enumerate(modes[:_MODES]):
        shapes.plot(x, mode, label=f"mode {k}", color=_COLOURS[k % len(_COLOURS)])
    shapes.set(xlabel="x", ylabel="mode", title="POD modes")
    shapes.legend(frameon=False)
    shown = singular_values / singular_values[0]
    shown = shown[shown > 1e-16]
    kept = shown[: len(modes)]
    decay.semilogy(np.arange(len(shown)), shown, ".", color="0.5", markersize=4)
    decay.semilogy(np.arange(len(kept)), kept, "o", color=_COLOURS[0], label="kept")
    decay.set(xlabel="index", ylabel="singular value / first", title="singular values")
    decay.legend(frameon=False)
    figure.savefig(path)


def draw_mode_forecasts(
    folder: Path,
    times: np.ndarray,
    truth: np.ndarray,
    train: int,
    forecasts: Mapping[str, np.ndarray],
) -> None:
    """Draw ``mode_K_forecast.png`` for each column of the true coefficients (time, rank) and each forecast (steps, rank)."""
    for k in range(min(truth.shape[1], _MODES)):
        figure, (axes,) = _figure(1, 1, 8.0, 4.0)
        axes.axvspan(times[0], times[train - 1], color="0.94", label="training span")
        axes.plot(times, truth[:, k], **_TRUTH)
        for colour, (name, forecast) in zip(_COLOURS, forecasts.items(), strict=False):
            axes.plot(times[train:], forecast[:, k], "--", color=colour, label=name)
        low, high = truth[:, k].min(), truth[:, k].max()
        axes.set(xlabel="t", ylabel=f"coefficient {k}", title=f"mode {k}: free rollout")
        axes.set_ylim(low - 0.6 * (high - low) - 1e-12, high + 0.6 * (high - low) + 1e-12)
        axes.legend(frameon=False, fontsize="small")
        figure.savefig(folder / f"mode_{k}_forecast.png")


def draw_training(path: Path, records: Mapping[str, TrainingRecord]) -> None:
    """Draw the loss of each epoch, over the training pairs and over those held out."""
    figure, (axes,) = _figure(1, 1, 8.0, 4.0)
    for colour, (name, record) in zip(_COLOURS, records.items(), strict=False):
        axes.semilogy(record.loss, color=colour, label=f"{name}, training")
        if record.validation_loss:
            axes.semilogy(record.validation_loss, ":", color=colour, label=f"{name}, validation")
        axes.axvline(record.best_epoch, color=colour, linewidth=0.7)
    axes.set(
        xlabel="epoch",
        ylabel="mean squared error, scaled",
        title="training (vertical line: weights kept)",
    )
    axes.legend(frameon=False)
    figure.savefig(path)


def draw_stage_times(path: Path, stages: Sequence[Mapping[str, Any]]) -> None:
    """Draw the seconds of each stage."""
    figure, (axes,) = _figure(1, 1, 8.0, 0.45 * len(stages) + 1.5)
    names = [stage["name"] for stage in stages][::-1]
    seconds = [stage["seconds"] for stage in stages][::-1]
    bars = axes.barh(names, seconds, color=_COLOURS[0])
    axes.bar_label(bars, [f" {value:.3g} s" for value in seconds])
    axes.set(xlabel="seconds", xscale="log", title="stage times")
    axes.margins(x=0.2)
    figure.savefig(path)


def _figure(rows: int, columns: int, width: float, height: float) -> tuple[Figure, Sequence[Any]]:
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
    return figure, axes

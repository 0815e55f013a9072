"""The figures of a report, drawn without a display and without touching matplotlib's global state."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

__all__ = [
    "COLOURS",
    "MODES",
    "draw_convergence",
    "draw_field_evolution",
    "draw_modes",
    "draw_mode_forecasts",
    "draw_online",
    "draw_singular_values",
    "draw_stage_times",
    "draw_takeover",
    "draw_training",
    "figure",
    "scale",
]

_TRUTH = {"color": "black", "linewidth": 1.8, "label": "solver"}
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # Okabe and Ito, told apart by all eyes
_STYLES = ("-", "--")  # of as many lines more
_PROFILES = 5
MODES = 8  # drawn at most


def draw_field_evolution(
    path: Path, x: np.ndarray, times: np.ndarray, snapshots: np.ndarray
) -> None:
    """Draw the field over space and time, and profiles at equal intervals; snapshots are (time, points)."""
    drawing, (plane, profiles) = figure(1, 2, 10.0, 4.0)
    shading = plane.pcolormesh(
        x, times, snapshots, rasterized=True, shading="nearest", **scale(snapshots)
    )
    drawing.colorbar(shading, ax=plane, label="u")
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
    drawing.savefig(path)


def draw_modes(path: Path, x: np.ndarray, modes: np.ndarray, singular_values: np.ndarray) -> None:
    """Draw the modes (rank, points) and the decay of the singular values."""
    drawing, (shapes, decay) = figure(1, 2, 10.0, 4.0)
    for k, mode in enumerate(modes[:MODES]):
        style = _STYLES[k // len(COLOURS) % len(_STYLES)]
        shapes.plot(x, mode, style, label=f"mode {k}", color=COLOURS[k % len(COLOURS)])
    shapes.set(xlabel="x", ylabel="mode", title="POD modes")
    shapes.legend(frameon=False)
    draw_singular_values(decay, len(modes), singular_values)
    drawing.savefig(path)


def draw_singular_values(axes: Any, kept: int, singular_values: np.ndarray) -> None:
    """Draw the decay of the singular values, the first ones marked as kept."""
    shown = singular_values / singular_values[0]
    shown = shown[shown > 1e-16]
    axes.semilogy(np.arange(len(shown)), shown, ".", color="0.5", markersize=4)
    axes.semilogy(np.arange(len(shown[:kept])), shown[:kept], "o", color=COLOURS[0], label="kept")
    axes.set(xlabel="index", ylabel="singular value / first", title="singular values")
    axes.legend(frameon=False)


def draw_mode_forecasts(
    folder: Path,
    times: np.ndarray,
    truth: np.ndarray,
    train: int,
    forecasts: Mapping[str, np.ndarray],
) -> None:
    """Draw ``mode_K_forecast.png`` for each column of the true coefficients (time, rank) and each forecast (steps, rank)."""
    for k in range(min(truth.shape[1], MODES)):
        drawing, (axes,) = figure(1, 1, 6.4, 3.6)
        axes.axvspan(times[0], times[train - 1], color="0.94", label="training span")
        axes.plot(times, truth[:, k], **_TRUTH)
        for n, (colour, (name, forecast)) in enumerate(
            zip(COLOURS, forecasts.items(), strict=False)
        ):
            # Of two that coincide both are seen: the later one is thinner.
            width = 1.4 + 0.8 * (len(forecasts) - 1 - n)
            axes.plot(
                times[train:], forecast[:, k], "--", color=colour, linewidth=width, label=name
            )
        low, high = truth[:, k].min(), truth[:, k].max()
        axes.set(xlabel="t", ylabel=f"coefficient {k}", title=f"mode {k}: free rollout")
        axes.set_ylim(low - 0.6 * (high - low) - 1e-12, high + 0.6 * (high - low) + 1e-12)
        axes.legend(frameon=False, fontsize="small")
        drawing.savefig(folder / f"mode_{k}_forecast.png")


def draw_training(path: Path, records: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw the ``loss`` of each epoch, over the training pairs and, ``validation_loss``, over those held out, by model."""
    drawing, (axes,) = figure(1, 1, 6.4, 3.6)
    for colour, (name, record) in zip(COLOURS, records.items(), strict=False):
        axes.semilogy(record["loss"], color=colour, label=f"{name}, training")
        if record["validation_loss"]:
            axes.semilogy(record["validation_loss"], ":", color=colour, label=f"{name}, validation")
        axes.axvline(record["best_epoch"], color=colour, linewidth=0.7)
    axes.set(
        xlabel="epoch",
        ylabel="mean squared error, scaled",
        title="training (vertical line: weights kept)",
    )
    axes.legend(frameon=False)
    drawing.savefig(path)


def draw_online(path: Path, online: Mapping[str, Any]) -> None:
    """Draw the losses of a training beside the simulation over its steps; see `insitu.online.run.OnlineRun.summary`."""
    drawing, (axes,) = figure(1, 1, 6.4, 3.6)
    looks = online["validation"]
    trained = online["loss"]
    ends = np.linspace(0, online["steps"], len(trained) + 1)[1:]
    axes.semilogy(ends, trained, color=COLOURS[0], label="training")
    for colour, name in zip(COLOURS[1:], ("loss", "persistence"), strict=False):
        label = "validation" if name == "loss" else name
        axes.semilogy(
            [look["step"] for look in looks],
            [look[name] for look in looks],
            ":",
            color=colour,
            label=label,
        )
    axes.set(xlabel="training step", ylabel="loss", title="training while the simulation ran")
    axes.legend(frameon=False)
    drawing.savefig(path)


def draw_stage_times(path: Path, stages: Sequence[Mapping[str, Any]]) -> None:
    """Draw the seconds of each stage."""
    drawing, (axes,) = figure(1, 1, 6.4, 0.35 * len(stages) + 1.2)
    names = [stage["name"] for stage in stages][::-1]
    seconds = [stage["seconds"] for stage in stages][::-1]
    bars = axes.barh(names, seconds, color=COLOURS[0])
    axes.bar_label(bars, [f" {value:.3g} s" for value in seconds])
    axes.set(xlabel="seconds", title="stage times")
    axes.margins(x=0.2)
    drawing.savefig(path)


def draw_convergence(
    path: Path,
    sizes: np.ndarray,
    errors: np.ndarray,
    order: float,
    band: tuple[float, float],
    label: str,
) -> None:
    """Draw the error of each level over its spacing or time step, the fitted line and the band of slopes that pass."""
    drawing, (axes,) = figure(1, 1, 5.0, 4.0)
    away = np.log(sizes) - np.log(sizes).mean()
    low, fitted, high = (
        np.exp(np.log(errors).mean() + slope * away) for slope in (band[0], order, band[1])
    )
    axes.fill_between(sizes, low, high, color="0.9", label=f"orders {band[0]:g} to {band[1]:g}")
    axes.loglog(sizes, fitted, "--", color="0.4", label=f"order {order:.2f}")
    axes.loglog(sizes, errors, "o", color=COLOURS[0], label="error")
    axes.set(xlabel=label, ylabel="relative error", title="convergence")
    axes.legend(frameon=False)
    drawing.savefig(path)


def draw_takeover(path: Path, takeover: Mapping[str, Any]) -> None:
    """Draw the decisions of a takeover over time: defects of proposals, the estimated error, and what it must stay under."""
    drawing, (axes,) = figure(1, 1, 6.4, 3.6)
    log = takeover["log"]
    axes.axhline(takeover["tolerance"], color="black", linewidth=0.9, label="tolerance")
    axes.plot(
        [each["time"] for each in log],
        [each["error"] or np.nan for each in log],
        color="0.45",
        label="estimated error",
    )
    for colour, mark, kind in zip(
        COLOURS, "oxs^", ("accepted", "rejected", "verified", "underestimated"), strict=True
    ):
        chosen = [each for each in log if each["kind"] == kind and each["defect"]]
        if chosen:
            axes.plot(
                [each["time"] for each in chosen],
                [each["defect"] for each in chosen],
                mark,
                markersize=4,
                color=colour,
                label=f"defect, {kind}",
            )
    axes.set(xlabel="t", ylabel="relative 2-norm", yscale="log", title="takeover: what was decided")
    axes.legend(frameon=False, fontsize="small")
    drawing.savefig(path)


def scale(values: np.ndarray, least: float = 0.0) -> dict[str, Any]:
    """Return the colours of values: two-sided around 0 where they change sign, and no finer than ``least``."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if low >= 0:
        return {"cmap": "viridis", "vmin": low, "vmax": max(high, low + least)}
    most = max(-low, high, least)
    return {"cmap": "RdBu_r", "vmin": -most, "vmax": most}


def figure(rows: int, columns: int, width: float, height: float) -> tuple[Figure, Sequence[Any]]:
    """Return a figure in inches and its axes, row by row."""
    made = Figure(figsize=(width, height), dpi=120, layout="constrained")
    axes = list(made.subplots(rows, columns, squeeze=False).flat)
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
    return made, axes

"""The figures of a run directory, drawn from what is saved in it."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from insitu import figures
from insitu.field_figures import ROW, draw_evolution, draw_mode_shapes
from insitu.report.replay import still_of

__all__ = ["Picture", "draw_all"]


class Picture(NamedTuple):
    """A figure of a run.

    Attributes
    ----------
    file
        In ``figures`` of the run directory.
    caption
    text
        What is to be seen, for those who do not see it.
    is_wide
        Whether it needs the width of the page.
    """

    file: str
    caption: str
    text: str
    is_wide: bool = False


def draw_all(folder: Path, report: Mapping[str, Any]) -> list[Picture]:
    """Draw all figures of a run again, from ``report.json``, ``series.csv`` and ``figures/*.npz``, and return what there is.

    Parameters
    ----------
    folder
        The run directory.
    report
        ``report.json`` as it was read, or what is known of a run that left none.
    """
    made: list[Picture] = []
    (folder / "figures").mkdir(exist_ok=True)
    for draw in (_evolution, _modes, _forecasts, _training, _online, _takeover, _stages):
        made += draw(folder, report)
    return made


def _evolution(folder: Path, report: Mapping[str, Any]) -> list[Picture]:
    shown = _saved(folder, "field_evolution") or still_of(folder)
    if not shown:
        return []
    draw_evolution(folder / "figures" / "field_evolution.png", shown)
    times = shown["times"]
    ranges = [
        f"{name.removeprefix(ROW)} from {values.min():.3g} to {values.max():.3g}"
        for name, values in shown.items()
        if name in ("u", "states") or name.startswith(ROW)
    ]
    span = f"from t = {times[0]:.4g} to {times[-1]:.4g}"
    where = f", in the plane z = {float(shown['plane']):.3g}" if "plane" in shown else ""
    return [
        Picture(
            "field_evolution.png",
            f"The field {span}{where}",
            f"Colours: {', '.join(ranges)}.",
            is_wide=True,
        )
    ]


def _modes(folder: Path, report: Mapping[str, Any]) -> list[Picture]:
    shown = _saved(folder, "modes")
    if not shown:
        return []
    draw_mode_shapes(folder / "figures" / "modes.png", shown)
    rank, values = int(shown["rank"]), shown["singular_values"]
    lost = float((values[rank:] ** 2).sum() / max((values**2).sum(), 1e-300))
    return [
        Picture(
            "modes.png",
            f"{rank} POD modes and the singular values",
            f"The modes kept leave {lost:.2g} of the sum of squares of all {len(values)} singular values.",
            is_wide=True,
        )
    ]


def _forecasts(folder: Path, report: Mapping[str, Any]) -> list[Picture]:
    if not (folder / "series.csv").is_file():
        return []
    times, truth, train, forecasts = _series(folder / "series.csv")
    figures.draw_mode_forecasts(folder / "figures", times, truth, train, forecasts)
    names = ", ".join(forecasts)
    return [
        Picture(
            f"mode_{k}_forecast.png",
            f"Coefficient {k}: the solver's, and the free rollouts of {names}",
            f"Training span until t = {times[train - 1]:.4g}; at the end the solver has {truth[-1, k]:.3g}, "
            + ", ".join(f"{name} {values[-1, k]:.3g}" for name, values in forecasts.items())
            + ".",
        )
        for k in range(min(truth.shape[1], figures.MODES))
    ]


def _training(folder: Path, report: Mapping[str, Any]) -> list[Picture]:
    records = {
        name: numbers["training"]
        for split in list(report.get("learning", {}).values())[:1]
        for name, numbers in split["models"].items()
        if numbers.get("training")
    }
    surrogates = report.get("surrogates", {})
    records |= {name: each["training"] for name, each in surrogates.items() if "training" in each}
    if not records:
        return []
    figures.draw_training(folder / "figures" / "training.png", records)
    last = ", ".join(f"{name} {float(each['loss'][-1]):.3g}" for name, each in records.items())
    return [
        Picture(
            "training.png", "Losses of the trainings after the run", f"Last training loss: {last}."
        )
    ]


def _online(folder: Path, report: Mapping[str, Any]) -> list[Picture]:
    online = report.get("online")
    if not online or not online["loss"]:
        return []
    figures.draw_online(folder / "figures" / "online.png", online)
    last = online["validation"][-1] if online["validation"] else None
    text = f"{online['steps']} training steps; last training loss {float(online['loss'][-1]):.3g}"
    if last:
        text += f", validation loss {float(last['loss']):.3g} beside {float(last['persistence']):.3g} of persistence"
    return [Picture("online.png", "Training while the simulation ran", f"{text}.")]


def _takeover(folder: Path, report: Mapping[str, Any]) -> list[Picture]:
    takeover = (report.get("driver") or {}).get("takeover")
    if not takeover or not takeover["log"]:
        return []
    figures.draw_takeover(folder / "figures" / "takeover.png", takeover)
    counts = ", ".join(f"{count} {kind}" for kind, count in takeover["decisions"].items())
    return [Picture("takeover.png", "Decisions of the takeover", f"{counts}.")]


def _stages(folder: Path, report: Mapping[str, Any]) -> list[Picture]:
    stages = report.get("stages")
    if not stages:
        return []
    figures.draw_stage_times(folder / "figures" / "stage_times.png", stages)
    text = ", ".join(f"{stage['name']} {stage['seconds']:.3g} s" for stage in stages)
    return [Picture("stage_times.png", "Where the time went", f"{text}.")]


def _saved(folder: Path, name: str) -> dict[str, np.ndarray] | None:
    file = folder / "figures" / f"{name}.npz"
    if not file.is_file():
        return None
    with np.load(file) as held:
        return dict(held)


def _series(file: Path) -> tuple[np.ndarray, np.ndarray, int, dict[str, np.ndarray]]:
    """Return times, true coefficients, length of the training span, and each model's forecast, of ``series.csv``."""
    with open(file, newline="") as stream:
        header, *rows = csv.reader(stream)
    train = sum(row[2] == "train" for row in rows)
    rank = sum(name[:1] == "a" and name[1:].isdigit() for name in header)
    numbers = np.array([[float(value or "nan") for value in (row[1], *row[3:])] for row in rows])
    truth, rolled = numbers[:, 1 : 1 + rank], numbers[train:, 1 + rank :]
    names = dict.fromkeys(name.rpartition("_a")[0] for name in header[3 + rank :])
    columns = {name: rolled[:, n * rank : (n + 1) * rank] for n, name in enumerate(names)}
    return numbers[:, 0], truth, train, columns

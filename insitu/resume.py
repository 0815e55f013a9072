"""Use what a run saved: basis, model and scaler forecast again."""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from insitu.config import CaseError, load_application_case
from insitu.reduction import POD

__all__ = ["forecast_again"]

_FILES = ("case.yaml", "report.json", "basis.npz", "model.pt")


def forecast_again(folder: Path, steps: int | None = None) -> str:
    """Forecast from the end of the training span with the saved model, on the CPU.

    Writes ``forecast.npz`` into the run directory: time (steps,), coefficients (steps, rank), u (steps, dof), and
    shape, that of a row of u.

    Parameters
    ----------
    folder
        Directory of a finished run.
    steps
        Snapshots to forecast; as many as the run did where it is left out.

    Returns
    -------
    str
        A line that says what was written.

    Raises
    ------
    CaseError
        A file is missing, or ``steps`` is below 1.
    """
    absent = [name for name in _FILES if not (folder / name).is_file()]
    if (folder / "basis-0000.npz").is_file():
        absent = [name for name in absent if name != "basis.npz"]
    if absent:
        raise CaseError(
            f"{folder} must hold {', '.join(_FILES)}, {', '.join(absent)} is missing; name the directory of a finished run"
        )
    report = json.loads((folder / "report.json").read_text())
    if report["status"] != "finished":
        raise CaseError(
            f"{folder} must hold a finished run, it holds one that is {report['status']}; run the case again"
        )
    case, _ = load_application_case(folder / "case.yaml")
    if steps is None:
        steps = int(report["learning"][case.learning.splits[0]]["forecast_snapshots"])
    if steps < 1:
        raise CaseError(f"steps must be 1 or more, got {steps}; correct it")
    try:
        saved = torch.load(folder / "model.pt", map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CaseError(
            f"{folder / 'model.pt'} must be a saved model, reading it gives '{reason}'; run the case again"
        ) from None
    model, basis = case.learning.model, _basis(folder, report["simulation"])
    model.load_state_dict(saved["model"])
    coefficients = model.forecast(saved["history"], steps)
    times = saved["time"] + saved["interval"] * np.arange(1, steps + 1)
    fields = basis.inverse_transform(coefficients)
    np.savez(
        folder / "forecast.npz",
        time=times,
        coefficients=coefficients.numpy(),
        shape=report["simulation"]["shape"],
        u=fields.numpy(),
    )
    return f"{steps} snapshots from t = {times[0]:.6g} to {times[-1]:.6g} written to {folder / 'forecast.npz'}"


def _basis(folder: Path, simulation: Mapping[str, Any]) -> POD:
    """Return the basis on the whole grid, put together from the blocks of several ranks where they wrote it."""
    if (folder / "basis.npz").is_file():
        return POD.load(folder / "basis.npz")
    shares, shape = simulation["ranks"], tuple(simulation["shape"])
    missing = [n for n in range(len(shares)) if not _part(folder, n).is_file()]
    if missing:
        raise CaseError(
            f"{folder} must hold the basis of all {len(shares)} ranks, {_part(folder, missing[0]).name} is missing; run the case "
            "again"
        )
    basis = POD.load(_part(folder, 0))
    modes = torch.empty((len(basis.modes_), *shape), dtype=basis.modes_.dtype)
    mean = torch.empty(shape, dtype=basis.modes_.dtype)
    for n, share in enumerate(shares):
        part = POD.load(_part(folder, n))
        points = [
            slice(begin, begin + count)
            for begin, count in zip(share["begin"], share["points"], strict=True)
        ]
        members = [slice(*share["members"])] if len(shape) > len(points) + 1 else []
        box = (*members, slice(None), *points)
        mean[box] = part.mean_.reshape(mean[box].shape)
        modes[(slice(None), *box)] = part.modes_.reshape(modes[(slice(None), *box)].shape)
    basis.modes_, basis.mean_ = modes.flatten(1), mean.flatten()
    return basis


def _part(folder: Path, rank: int) -> Path:
    return folder / f"basis-{rank:04d}.npz"

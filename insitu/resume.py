"""Use what a run saved: basis, model and scaler forecast again."""

import json
import pickle
from pathlib import Path

import numpy as np
import torch

from insitu.config import CaseError, load_case
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
    if absent:
        raise CaseError(
            f"{folder} must hold {', '.join(_FILES)}, {', '.join(absent)} is missing; name the directory of a finished run"
        )
    report = json.loads((folder / "report.json").read_text())
    if report["status"] != "finished":
        raise CaseError(
            f"{folder} must hold a finished run, it holds one that is {report['status']}; run the case again"
        )
    case, _ = load_case(folder / "case.yaml")
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
    model, basis = case.learning.model, POD.load(folder / "basis.npz")
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

"""The run directory."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

from insitu.case_errors import CaseError
from insitu.collectives import on_first
from insitu.fields.files import remove_fields
from insitu.solution import Solution

__all__ = ["part_name", "prepare_folder", "replace_file"]

_OUTPUTS = (
    "report.json",
    "report.html",
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
        stale = [
            file
            for kind in ("png", "npz", "gif", "mp4")
            for file in folder.glob(f"figures/*.{kind}")
        ]
        stale += folder.glob("basis-*.npz")
        stale += [*folder.glob("snapshots-*.npz"), *(folder / name for name in _OUTPUTS)]
        for file in stale:
            file.unlink(missing_ok=True)
        remove_fields(folder)
        shutil.rmtree(folder / "tensorboard", ignore_errors=True)
    except OSError as error:
        raise CaseError(
            f"the output directory must be writable, got '{error.strerror}' for {folder}; choose another with --output"
        ) from None


def part_name(file: Path, simulation: Solution) -> Path:
    """Return the name of this rank's part of a file: of the whole where it is alone."""
    if simulation.comm is None:
        return file
    return file.with_stem(f"{file.stem}-{simulation.ranks.rank:04d}")


def replace_file(file: Path, text: str) -> None:
    """Write a file whole or not at all."""
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    unfinished.write_text(text)
    unfinished.replace(file)

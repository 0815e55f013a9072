"""Field files made, continued, and laid out again for other ranks."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from insitu.collectives import on_first, together
from insitu.fields.layout import Layout
from insitu.fields.reading import Fields
from insitu.fields.vtkhdf import VtkHdfFile
from insitu.fields.zarr_store import ZarrStore
from solver import Moment

__all__ = ["format_of", "held_steps", "opened", "remove_fields"]

Written = VtkHdfFile | ZarrStore

_FORMATS: dict[str, type[VtkHdfFile] | type[ZarrStore]] = {"vtkhdf": VtkHdfFile, "zarr": ZarrStore}
_HOST = torch.device("cpu")
_ASIDE, _COPIED = ".fields", ".fields.copied"  # where a file waits to be copied, and to be removed


def held_steps(path: Path, comm: Any, step: int) -> list[int]:
    """Return the steps of the states in a file up to that at which a run continues; all ranks call it.

    A run that begins, or has no file to continue, has none.
    """

    def read() -> list[int]:
        source = path if not _aside(path).exists() else _aside(path)
        if step == 0 or not source.exists():
            return []
        with Fields(source) as fields:
            return [int(n) for n in fields.steps[: fields.count_until(step)]]

    return on_first(comm, read, _HOST)


def format_of(name: str) -> type[VtkHdfFile] | type[ZarrStore]:
    """Return the class that writes a format.

    Raises
    ------
    CaseError
        The package it needs is missing.
    """
    kind = _FORMATS[name]
    kind.require()
    return kind


def opened(
    kind: type[VtkHdfFile] | type[ZarrStore], path: Path, layout: Layout, count: int
) -> Written:
    """Return a file of a format with its first ``count`` states, for more to be written; all ranks call it.

    What other ranks wrote, or another number of states was expected in, is copied, each rank its part.
    """
    if count == 0:
        on_first(layout.comm, lambda: remove_fields(path.parent), _HOST)
        return kind(path, layout, is_new=True)
    on_first(layout.comm, lambda: _remove_copied(path.parent), _HOST)
    if on_first(layout.comm, lambda: _can_continue(kind, path, layout), _HOST):
        continued = kind(path, layout, is_new=False)
        with together(layout.comm):
            continued.publish(count)
        return continued
    on_first(layout.comm, lambda: _put_aside(path), _HOST)
    made = kind(path, layout, is_new=True)
    with Fields(_aside(path)) as fields:
        for n in range(count):
            moment = Moment(int(fields.steps[n]), float(fields.times[n]))
            made.write(n, [moment], made.arranged(_part(fields, n, layout)))
    if layout.comm is not None:
        layout.comm.Barrier()
    made.publish(count)
    on_first(layout.comm, lambda: _drop_aside(path.parent), _HOST)
    return made


def remove_fields(folder: Path) -> None:
    """Remove the field files of a run directory, of whichever format."""
    for name in ("fields.vtkhdf", "fields.parts", "fields.zarr", _ASIDE, _COPIED):
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _can_continue(kind: type[VtkHdfFile] | type[ZarrStore], path: Path, layout: Layout) -> bool:
    return not _aside(path).parent.exists() and kind.fits(path, layout)


def _aside(path: Path) -> Path:
    """Return where a file waits that is being copied."""
    return path.parent / _ASIDE / path.name


def _put_aside(path: Path) -> None:
    """Move a file and its parts, unless an earlier attempt has done it."""
    if _aside(path).exists():
        return
    _aside(path).parent.mkdir(exist_ok=True)
    parts = path.with_suffix(".parts")
    if parts.exists():
        parts.rename(_aside(parts))
    path.rename(_aside(path))


def _drop_aside(folder: Path) -> None:
    """Remove what has been copied, by another name: what a kill leaves of it must not be copied again."""
    (folder / _ASIDE).rename(folder / _COPIED)
    _remove_copied(folder)


def _remove_copied(folder: Path) -> None:
    if (folder / _COPIED).exists():
        shutil.rmtree(folder / _COPIED)


def _part(fields: Fields, number: int, layout: Layout) -> np.ndarray:
    """Return this rank's part of a state in a file, (1, members, variables, *points)."""
    values = np.empty((1, *layout.own_shape), layout.dtype)
    for m, member in enumerate(layout.own_members):
        of = None if layout.members is None else layout.members[member]
        for v, variable in enumerate(layout.variables):
            values[0, m, v] = fields.state(variable.name, number, of, layout.own_box)
    return values

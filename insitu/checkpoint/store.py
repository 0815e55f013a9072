"""The checkpoints in a run directory: complete ones under their names, at most one unfinished beside them."""

import io
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from insitu.checkpoint.files import SAME, DamagedError, Manifest, read_arrays
from insitu.checkpoint.layout import Layout
from insitu.checkpoint.packing import unpack
from insitu.collectives import size_of

__all__ = ["Store"]

_NAME = re.compile(r"step-(\d+)(?:-learning-(\d+))?")


class Store:
    """The directory ``checkpoints`` of a run.

    A checkpoint is written as ``.step-200.tmp`` by all ranks and renamed when all is on the disk, so one of a name is whole, or
    was damaged afterwards.

    Parameters
    ----------
    run
        The run directory.
    """

    def __init__(self, run: Path):
        self.folder = run / "checkpoints"

    def names(self) -> list[str]:
        """Return the names of the complete checkpoints, the newest first."""
        found = [] if not self.folder.is_dir() else [each.name for each in self.folder.iterdir()]
        return sorted(filter(_NAME.fullmatch, found), key=_age, reverse=True)

    def path(self, name: str) -> Path:
        """Return the directory of a complete checkpoint."""
        return self.folder / name

    def temporary(self, name: str) -> Path:
        """Return the directory of one that is being written."""
        return self.folder / f".{name}.tmp"

    def commit(self, name: str, manifest: Manifest) -> None:
        """Make a checkpoint whole whose files are all on the disk; one rank calls it.

        Raises
        ------
        OSError
            There is no room for the manifest.
        """
        unfinished = self.temporary(name)
        manifest.write(unfinished)
        _flush_folder(unfinished)
        if self.path(name).is_dir():
            shutil.rmtree(self.path(name))
        unfinished.rename(self.path(name))
        _flush_folder(self.folder)

    def prune(self, keep: int) -> None:
        """Remove all but the newest, and what was never finished; one rank calls it."""
        for name in self.names()[keep:]:
            shutil.rmtree(self.path(name), ignore_errors=True)
        self.clean()
        if not keep and self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def clean(self) -> None:
        """Remove what was never finished; one rank calls it."""
        for unfinished in self.folder.glob(".step-*.tmp"):
            shutil.rmtree(unfinished, ignore_errors=True)

    def newest(self, comm: Any) -> tuple[str | None, Manifest | None, list[str]]:
        """Find the newest checkpoint that is what was written; all ranks call it, and check a part of the files each.

        Returns
        -------
        str or None, Manifest or None, list of str
            Its name and contents; what is wrong with the newer ones. The same on every rank.
        """
        damages: list[str] = []
        for name in self._agreed(comm):
            try:
                return name, self._checked(name, comm), damages
            except DamagedError as error:
                damages.append(f"{name}: {error}")
        return None, None, damages

    def load(self, name: str, manifest: Manifest, layout: Layout) -> Any:
        """Return a checkpoint's state with this rank's part of the arrays, tensors on the host."""
        folder = self.path(name)
        arrays, local = read_arrays(folder, manifest, layout)
        same = torch.load(folder / SAME, map_location="cpu", weights_only=True)
        return unpack(same, arrays, _of_bytes(local))

    def _agreed(self, comm: Any) -> list[str]:
        names = self.names() if comm is None or comm.rank == 0 else []
        return names if size_of(comm) == 1 else list(comm.bcast(names))

    def _checked(self, name: str, comm: Any) -> Manifest:
        """Return the manifest of a checkpoint whose files are right; raises the lowest rank's DamagedError on all."""
        rank, damage, manifest = 0 if comm is None else comm.rank, None, None
        try:
            manifest = Manifest.read(self.path(name))
            manifest.check(self.path(name), sorted(manifest.files)[rank :: size_of(comm)])
        except DamagedError as error:
            damage = str(error)
        found = [damage] if size_of(comm) == 1 else comm.allgather(damage)
        for each in found:
            if each is not None:
                raise DamagedError(each)
        if manifest is None:
            raise DamagedError(f"{self.path(name)} must be readable on every rank")
        return manifest


def _of_bytes(content: Tensor) -> Mapping[str, Any]:
    found: Mapping[str, Any] = torch.load(
        io.BytesIO(content.numpy().tobytes()), map_location="cpu", weights_only=True
    )
    return found


def _age(name: str) -> tuple[int, int]:
    match = _NAME.fullmatch(name)
    step, learning = match.groups() if match else (0, 0)
    return int(step), int(learning or 0)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Field files read again: which states they hold, and these, as they were on the simulation's points."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from insitu.case_errors import CaseError
from insitu.fields.settings import FILES

__all__ = ["Fields", "find_fields"]


class Fields:
    """A field file over time, of either format.

    Parameters
    ----------
    path
        ``fields.vtkhdf`` or ``fields.zarr``.

    Attributes
    ----------
    title : str
    times : numpy.ndarray
        Of the states, (states,), float64.
    steps : numpy.ndarray
        (states,), int64.
    variables : dict of str to str
        What they are, by name.
    members : tuple of int
        Those of the ensemble that are in it; empty of one solution.
    axes : tuple of numpy.ndarray
        The points' coordinates along each axis.

    Raises
    ------
    CaseError
        The package that reads it is missing.
    """

    def __init__(self, path: Path):
        self.path = path
        self._is_zarr = path.suffix == ".zarr"
        self._file = _open(path)
        own = self._file if self._is_zarr else self._file["insitu"]
        names = [name for name in "xyz" if name in (own if self._is_zarr else own["axes"])]
        self.title = str(own.attrs["title"])
        self.variables: dict[str, str] = json.loads(own.attrs["variables"])
        parts = own if self._is_zarr else own["axes"]
        self.axes = tuple(np.asarray(parts[name][:]) for name in names)
        held = "member" if self._is_zarr else "members"
        self.members = tuple(int(n) for n in own[held][:]) if held in own else ()
        times = own["time"] if self._is_zarr else self._file["VTKHDF/Steps/Values"]
        if self._is_zarr:  # a process may have been killed after the first of them
            count = min(own[name].shape[0] for name in ("time", "step", *self.variables))
        else:
            count = int(self._file["VTKHDF/Steps"].attrs["NSteps"])
        steps = np.asarray(own["step"][:count])
        grows = np.diff(steps) > 0  # to where a process that was killed had written
        count = count if grows.all() else int(grows.argmin()) + 1
        self.times, self.steps = np.asarray(times[:count]), steps[:count]

    def __len__(self) -> int:
        return len(self.times)

    def count_until(self, step: int) -> int:
        """Return how many states are at or before a step."""
        return int(np.searchsorted(self.steps, step, side="right"))

    def state(
        self,
        variable: str,
        number: int,
        member: int | None = None,
        box: tuple[slice, ...] | None = None,
    ) -> np.ndarray:
        """Return a variable of a state, (*points), or those in a box; of an ensemble of a member by its number."""
        inside = box or tuple(slice(None) for _ in self.axes)
        if self._is_zarr:
            place = () if member is None else (self.members.index(member),)
            return np.asarray(self._file[variable][(number, *place, *inside)])
        name = variable if member is None else f"{variable}_{member}"
        image = (*[0] * (2 - len(inside)), *inside[::-1])
        return np.asarray(self._file[f"VTKHDF/PointData/{name}"][(number, *image)]).T

    def close(self) -> None:
        """Let go of the file."""
        if not self._is_zarr:
            self._file.close()

    def __enter__(self) -> "Fields":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def find_fields(folder: Path) -> Path | None:
    """Return the field file of a run directory, None where there is none."""
    return next((folder / name for name in FILES.values() if (folder / name).exists()), None)


def _open(path: Path) -> Any:
    try:
        if path.suffix == ".zarr":
            import zarr

            return zarr.open_group(path, mode="r", use_consolidated=False)
        import h5py

        return h5py.File(path, "r", locking=False)
    except ImportError as error:
        raise CaseError(
            f"{path.name} needs the package {error.name}, it is not installed; pip install 'insitu[fields]'"
        ) from None

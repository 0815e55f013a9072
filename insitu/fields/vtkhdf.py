"""``fields.vtkhdf``: VTK's ImageData with steps, written by all ranks with a plain HDF5 library and plain writes.

How many states there will be is known beforehand, so all arrays are made at once, of their final size and contiguous, and what
follows are writes of bytes at known places: nothing of HDF5 while the run goes on but the number of states, and nothing that a
process that is killed leaves half done. What is not yet written takes no disk. One rank writes into the file itself; of several
each has a file of its own, ``fields.parts/0003.h5`` for rank 3, and the arrays of ``fields.vtkhdf`` are virtual ones, which show
all parts as one.

Source: Kitware, "VTKHDF File Format", https://docs.vtk.org/en/latest/vtk_file_formats/vtkhdf_file_format/index.html
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from insitu.case_errors import CaseError
from insitu.collectives import together
from insitu.fields.layout import Layout
from solver import Moment

__all__ = ["VtkHdfFile"]

_VERSION = (2, 2)
_STEPS = "VTKHDF/Steps"
_ROWS = 2  # of the strip that stands for a line
_STRIP = 0.05  # its width over its length


class VtkHdfFile:
    """The field file of a run in VTK's format; all ranks make the same calls.

    Arrays are called as the variables, in an ensemble ``u_3`` for member 3, and have the shape (states, [z,] y, x).

    Parameters
    ----------
    path
        Of the file.
    layout
    is_new
        Whether to make it; else it is there and fits the layout.

    Raises
    ------
    CaseError
        h5py is missing.
    OSError
        It cannot be written.
    """

    is_exchanged = False

    def __init__(self, path: Path, layout: Layout, is_new: bool):
        self._path, self._layout, self._h5 = path, layout, _hdf5()
        self._is_alone = len(layout.boxes) == 1
        self._files: list[int] = []
        if is_new and not self._is_alone:
            with together(layout.comm):
                self._part(layout.rank).parent.mkdir(exist_ok=True)
                with self._made(self._part(layout.rank)) as file:
                    self._make_arrays(file)
        with together(layout.comm):
            if is_new and layout.rank == 0:
                self._make()
        with together(layout.comm):
            self._open()

    @staticmethod
    def require() -> None:
        """Refuse to go on without h5py."""
        _hdf5()

    @staticmethod
    def fits(path: Path, layout: Layout) -> bool:
        """Return whether a file was made by the same ranks for as many states."""
        with _hdf5().File(path, "r", locking=False) as file:
            return bool(file["insitu"].attrs["layout"] == layout.as_text())

    def arranged(self, values: np.ndarray) -> np.ndarray:
        """Return what this rank writes of all ranks' blocks: its own."""
        return values

    def write(self, first: int, moments: Sequence[Moment], values: np.ndarray) -> None:
        """Write this rank's part of consecutive states, (states, members, variables, *points), from number ``first`` on."""
        for m, member in enumerate(self._layout.own_members):
            for v in range(len(self._layout.variables)):
                turned = np.ascontiguousarray(_turned(values[:, m, v]))
                begin = self._places[_name(self._layout, v, member)]
                _write(self._data, turned, begin + first * turned[0].nbytes)
        if self._layout.rank == 0:
            times, steps = (
                np.array([getattr(m, name) for m in moments]) for name in ("time", "step")
            )
            _write(self._head, times.astype(np.float64), self._head_places["time"] + 8 * first)
            _write(self._head, steps.astype(np.int64), self._head_places["step"] + 8 * first)

    def publish(self, count: int) -> None:
        """Let readers see the first ``count`` states; all ranks have written them, rank 0 says so."""
        if self._layout.rank == 0:
            with self._h5.File(self._path, "r+", locking=False) as file:
                file[_STEPS].attrs.modify("NSteps", np.int64(count))

    def close(self) -> None:
        """Write no more."""
        while self._files:
            os.close(self._files.pop())

    def _open(self) -> None:
        """Find the places of the arrays in the files, and open these for writing."""
        rank = self._layout.rank
        data = self._path if self._is_alone else self._part(rank)
        with self._h5.File(data, "r", locking=False) as file:
            group = file["VTKHDF/PointData"] if self._is_alone else file
            self._places = {name: group[name].id.get_offset() for name in group}
        self._data = self._opened(data)
        if rank == 0:
            with self._h5.File(self._path, "r", locking=False) as file:
                self._head_places = {
                    "time": file[f"{_STEPS}/Values"].id.get_offset(),
                    "step": file["insitu/step"].id.get_offset(),
                }
            self._head = self._data if self._is_alone else self._opened(self._path)

    def _opened(self, path: Path) -> int:
        self._files.append(os.open(path, os.O_WRONLY))
        return self._files[-1]

    def _part(self, rank: int) -> Path:
        return self._path.with_suffix(".parts") / f"{rank:04d}.h5"

    def _made(self, path: Path) -> Any:
        path.unlink(missing_ok=True)
        return self._h5.File(path, "w", locking=False, libver=("earliest", "v110"))

    def _make_arrays(self, group: Any) -> None:
        """Make this rank's arrays."""
        layout = self._layout
        shape = (layout.capacity, *_image(layout.boxes[layout.rank][1]))
        for member in layout.own_members:
            for v in range(len(layout.variables)):
                self._make_array(group, _name(layout, v, member), shape, layout.dtype)

    def _make_array(self, group: Any, name: str, shape: tuple[int, ...], dtype: Any) -> None:
        """Make a contiguous array that has its place in the file now and takes disk as it is written."""
        creation = self._h5.h5p.create(self._h5.h5p.DATASET_CREATE)
        creation.set_layout(self._h5.h5d.CONTIGUOUS)
        creation.set_alloc_time(self._h5.h5d.ALLOC_TIME_EARLY)
        creation.set_fill_time(self._h5.h5d.FILL_TIME_NEVER)
        kind = self._h5.h5t.py_create(np.dtype(dtype), logical=True)
        space = self._h5.h5s.create_simple(shape)
        self._h5.h5d.create(group.id, name.encode(), kind, space, creation)

    def _make(self) -> None:
        """Make the file that readers open; rank 0."""
        layout = self._layout
        with self._made(self._path) as file:
            root = file.create_group("VTKHDF")
            kind = self._h5.string_dtype("ascii", len("ImageData"))
            root.attrs.create("Type", b"ImageData", dtype=kind)
            root.attrs["Version"] = np.array(_VERSION, np.int64)
            whole = _image(layout.points)[::-1]
            extent = [[0, n - 1] for n in (*whole, 1)[:3]]
            root.attrs["WholeExtent"] = np.array(extent, np.int64).ravel()
            axes = len(layout.points)
            root.attrs["Origin"] = np.array([*(x[0] for x in layout.axes), 0.0, 0.0][:3])
            width = _STRIP * layout.spacing[0] * layout.points[0]
            root.attrs["Spacing"] = np.array([*layout.spacing, *[width] * (3 - axes)])
            root.attrs["Direction"] = np.eye(3).ravel()
            steps = root.create_group("Steps")
            steps.attrs["NSteps"] = np.int64(0)
            self._make_array(steps, "Values", (layout.capacity,), np.float64)
            self._make_own(file)
            arrays = root.create_group("PointData")
            if self._is_alone:
                self._make_arrays(arrays)
            else:
                self._join(arrays)

    def _make_own(self, file: Any) -> None:
        """Make the group that VTK does not read: what the arrays are, and what `Fields` asks for."""
        layout = self._layout
        own = file.create_group("insitu")
        self._make_array(own, "step", (layout.capacity,), np.int64)
        own.attrs["title"] = layout.title
        own.attrs["layout"] = layout.as_text()
        own.attrs["variables"] = json.dumps({v.name: v.meaning for v in layout.variables})
        if layout.members is not None:
            own["members"] = np.array(layout.members)
            for name, values in layout.parameters.items():
                own[f"parameters/{name}"] = values
        for name, axis in zip("xyz", layout.axes, strict=False):
            own[f"axes/{name}"] = axis

    def _join(self, arrays: Any) -> None:
        """Make virtual arrays of the parts of all ranks."""
        layout = self._layout
        whole = (layout.capacity, *_image(layout.points))
        members = range(len(layout.members)) if layout.members is not None else [0]
        for v in range(len(layout.variables)):
            for member in members:
                name = _name(layout, v, member)
                virtual = self._h5.VirtualLayout(whole, layout.dtype)
                for rank, (begin, points, own) in enumerate(layout.boxes):
                    if member not in own:
                        continue
                    part = self._part(rank).relative_to(self._path.parent)
                    shape = _image(points)
                    source = self._h5.VirtualSource(str(part), name, (layout.capacity, *shape))
                    box = [
                        slice(b, b + n) for b, n in zip(_image(begin, fill=0), shape, strict=True)
                    ]
                    virtual[(slice(None), *box)] = source
                arrays.create_virtual_dataset(name, virtual)


def _name(layout: Layout, variable: int, member: int) -> str:
    name = layout.variables[variable].name
    return name if layout.members is None else f"{name}_{layout.members[member]}"


def _image(along: Sequence[int], fill: int = _ROWS) -> tuple[int, ...]:
    """Return numbers along x, y, z as those along [z,] y, x; a line is a strip of two rows, since VTK reads no lines."""
    return (*[fill] * (2 - len(along)), *along[::-1])


def _turned(states: np.ndarray) -> np.ndarray:
    """Return states (states, x[, y[, z]]) as the file has them, (states, [z,] y, x)."""
    if states.ndim == 2:
        return np.repeat(states[:, None], _ROWS, axis=1)
    return states.transpose(0, *range(states.ndim - 1, 0, -1))


def _write(file: int, values: np.ndarray, begin: int) -> None:
    """Write the bytes of an array at a place of a file, all of them."""
    rest = memoryview(values.data).cast("B")
    while rest:
        done = os.pwrite(file, rest, begin)
        rest, begin = rest[done:], begin + done


def _hdf5() -> Any:
    try:
        import h5py
    except ImportError:
        raise CaseError(
            "fields.format vtkhdf needs the package h5py, it is not installed; pip install 'insitu[fields]', or choose zarr"
        ) from None
    return h5py

"""``fields.zarr``: a zarr group that xarray opens as a dataset, whose chunks all ranks write by themselves.

No two ranks write one chunk. Where the blocks of the ranks do not all begin at multiples of one number of points, the ranks
exchange what of their blocks lies in another's chunks first.
"""

import json
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from insitu.case_errors import CaseError
from insitu.collectives import together
from insitu.fields.layout import Layout
from solver import Moment

__all__ = ["ZarrStore"]

_CHUNK = 1 << 26  # bytes at most
_AXES = ("x", "y", "z")
_STEPS = 4096  # times in a chunk

Box = tuple[slice, ...]
Index = tuple[Any, ...]


class ZarrStore:
    """The field file of a run as a zarr group; all ranks make the same calls.

    Arrays are called as the variables, with the dimensions time, member (of an ensemble), x, y, z; a component of a staggered
    velocity has the dimension x_face in the place of x where it lies on the faces of x. Coordinates: time and step, x, y, z,
    member, and the parameters of the members.

    Parameters
    ----------
    path
        Of the group, a folder.
    layout
    is_new
        Whether to make it; else it is there and fits the layout.

    Raises
    ------
    CaseError
        zarr is missing.
    OSError
        It cannot be written.
    """

    def __init__(self, path: Path, layout: Layout, is_new: bool):
        self._path, self._layout, self._zarr = path, layout, _zarr()
        self._lead = () if layout.members is None else (len(layout.members),)
        self._blocks = [_box(layout, rank) for rank in range(len(layout.boxes))]
        self._regions, self._chunk = _regions(self._blocks, (*self._lead, *layout.points))
        self.is_exchanged = self._regions != self._blocks
        self._head: dict[str, Any] = {}
        with together(layout.comm):
            if layout.rank == 0:
                if is_new:
                    self._make()
                self._head = self._over_time()
                _resize(self._head, layout.capacity)
        with together(layout.comm):
            self._arrays = self._over_time()
        with together(layout.comm):
            if is_new and layout.rank == 0:
                self.publish(0)

    @staticmethod
    def require() -> None:
        """Refuse to go on without zarr."""
        _zarr()

    @staticmethod
    def fits(path: Path, layout: Layout) -> bool:
        """Return whether a file was made by the same ranks for as many states."""
        return bool(
            _zarr().open_group(path, mode="r", use_consolidated=False).attrs["layout"]
            == layout.as_text()
        )

    def arranged(self, values: np.ndarray) -> np.ndarray:
        """Return what this rank writes of (states, members, variables, *points) of all ranks' blocks; all ranks call it."""
        if not self.is_exchanged:
            return values
        moved = np.moveaxis(values, 2, 1)  # (states, variables, members, *points)
        moved = moved if self._lead else moved[:, :, 0]
        own = self._blocks[self._layout.rank]
        sent = [
            np.ascontiguousarray(moved[(..., *_within(own, region))])
            if _overlap(own, region)
            else None
            for region in self._regions
        ]
        received = self._layout.comm.alltoall(sent)
        mine = self._regions[self._layout.rank]
        whole = np.empty((*moved.shape[:2], *(s.stop - s.start for s in mine)), values.dtype)
        for block, part in zip(self._blocks, received, strict=True):
            if part is not None:
                whole[(..., *_within(mine, block))] = part
        return np.moveaxis(whole if self._lead else whole[:, :, None], 1, 2)

    def write(self, first: int, moments: Sequence[Moment], values: np.ndarray) -> None:
        """Write this rank's part of consecutive states, as `arranged` returns it, from number ``first`` on."""
        states = slice(first, first + len(moments))
        region = self._regions[self._layout.rank]
        if values.size:
            for v, variable in enumerate(self._layout.variables):
                part = values[:, :, v] if self._lead else values[:, 0, v]
                self._arrays[variable.name][(states, *region)] = np.ascontiguousarray(part)
        if self._layout.rank == 0:
            self._arrays["time"][states] = np.array([moment.time for moment in moments])
            self._arrays["step"][states] = np.array([moment.step for moment in moments])

    def publish(self, count: int) -> None:
        """Let readers see the first ``count`` states; all ranks have written them, rank 0 says so."""
        if self._layout.rank == 0:
            _resize(self._head, count)
            with warnings.catch_warnings():  # of the standard's next version, which xarray asks for
                warnings.simplefilter("ignore", self._zarr.errors.ZarrUserWarning)
                self._zarr.consolidate_metadata(self._path)

    def close(self) -> None:
        """Write no more; nothing is open."""

    def _over_time(self) -> dict[str, Any]:
        group = self._zarr.open_group(self._path, mode="r+", use_consolidated=False)
        names = ["time", "step", *(variable.name for variable in self._layout.variables)]
        return {name: group[name] for name in names}

    def _make(self) -> None:
        layout = self._layout
        beside = ["step", *layout.parameters]
        group = self._zarr.create_group(
            self._path,
            overwrite=True,
            attributes={
                "title": layout.title,
                "coordinates": " ".join(beside),
                "layout": layout.as_text(),
                "variables": json.dumps({v.name: v.meaning for v in layout.variables}),
            },
        )
        along = {"dimension_names": ["time"], "chunks": (_STEPS,), "shape": (layout.capacity,)}
        about = {"long_name": "simulated time", "units": "1"}
        group.create_array("time", dtype="f8", fill_value=math.nan, attributes=about, **along)
        about = {"long_name": "steps taken", "units": "1"}
        group.create_array("step", dtype="i8", attributes=about, **along)
        self._make_coordinates(group)
        for variable in layout.variables:
            names = list(_AXES[: len(layout.points)])
            if variable.face is not None:
                names[variable.face] += "_face"
            group.create_array(
                variable.name,
                shape=(layout.capacity, *self._lead, *layout.points),
                chunks=_chunks((layout.batch, *self._chunk), layout.dtype.itemsize),
                dtype=layout.dtype,
                compressors=self._zarr.codecs.BloscCodec(cname="lz4", clevel=1, shuffle="shuffle"),
                fill_value=math.nan,
                dimension_names=["time", *["member"] * len(self._lead), *names],
                attributes={"long_name": variable.meaning, "units": "1"},
            )

    def _make_coordinates(self, group: Any) -> None:
        layout = self._layout

        def add(name: str, along: str, values: Any, meaning: str) -> None:
            group.create_array(
                name,
                data=np.asarray(values),
                dimension_names=[along],
                attributes={"long_name": meaning, "units": "1"},
            )

        faces = {variable.face for variable in layout.variables}
        for axis, (name, values) in enumerate(zip(_AXES, layout.axes, strict=False)):
            add(name, name, values, f"coordinate along {name}")
            if axis in faces:
                face = f"{name}_face"
                add(face, face, values - layout.spacing[axis] / 2, f"low faces along {name}")
        if layout.members is not None:
            add("member", "member", layout.members, "member of the ensemble")
        for name, values in layout.parameters.items():
            add(name, "member", values, f"parameter {name} of the equation")


def _box(layout: Layout, rank: int) -> Box:
    """Return a rank's part of the members and the grid."""
    begin, points, own = layout.boxes[rank]
    along = tuple(slice(b, b + n) for b, n in zip(begin, points, strict=True))
    if layout.members is None:
        return along
    return (slice(own[0], own[-1] + 1) if own else slice(0, 0), *along)


def _regions(blocks: list[Box], whole: Sequence[int]) -> tuple[list[Box], tuple[int, ...]]:
    """Return what each rank writes, its block where all blocks begin at multiples of a chunk, and the chunk."""
    chunk = tuple(
        max(box[axis].stop - box[axis].start for box in blocks) for axis in range(len(whole))
    )
    held = [box for box in blocks if all(s.stop > s.start for s in box)]
    if all(s.start % c == 0 for box in held for s, c in zip(box, chunk, strict=True)):
        return blocks, chunk
    counts = [-(-n // c) for n, c in zip(whole, chunk, strict=True)]
    regions = []
    for rank in range(len(blocks)):
        if rank >= math.prod(counts):
            regions.append(tuple(slice(0, 0) for _ in whole))
            continue
        place = np.unravel_index(rank, counts)
        regions.append(
            tuple(
                slice(int(k) * c, min((int(k) + 1) * c, n))
                for k, c, n in zip(place, chunk, whole, strict=True)
            )
        )
    return regions, chunk


def _chunks(chunk: tuple[int, ...], size: int) -> tuple[int, ...]:
    """Return a chunk of fewer bytes than the largest, whose multiple along each axis the given one is."""
    smaller = list(chunk)
    for axis in range(len(chunk)):
        while math.prod(smaller) * size > _CHUNK and smaller[axis] > 1:
            n = smaller[axis]
            least = next(k for k in range(2, n + 1) if n % k == 0)
            smaller[axis] //= least
    return tuple(smaller)


def _overlap(one: Box, other: Box) -> bool:
    return all(max(a.start, b.start) < min(a.stop, b.stop) for a, b in zip(one, other, strict=True))


def _within(box: Box, other: Box) -> Index:
    """Return the overlap of two boxes, counted from where the first begins."""
    return tuple(
        slice(max(a.start, b.start) - a.start, min(a.stop, b.stop) - a.start)
        for a, b in zip(box, other, strict=True)
    )


def _resize(arrays: dict[str, Any], count: int) -> None:
    for array in arrays.values():
        array.resize((count, *array.shape[1:]))


def _zarr() -> Any:
    try:
        import zarr
    except ImportError:
        raise CaseError(
            "fields.format zarr needs the package zarr, it is not installed; pip install 'insitu[fields]', or choose vtkhdf"
        ) from None
    return zarr

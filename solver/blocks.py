"""How a grid is cut into blocks for passes over memory. Integer arithmetic; no choice here changes a result."""

import dataclasses
import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from solver import _occa
from solver.device import Device
from solver.grid import Grid
from solver.threads import thread_count
from solver.tiles import Axis, tiles_in_order

_UNLIMITED = 1 << 30
_VECTOR = 64  # bytes
_LINE = {
    "Serial": 8192,
    "OpenMP": 8192,
    "CUDA": 1024,
    "HIP": 1024,
}  # points on chip, in one dimension
_SHARED = 48 * 1024  # bytes of a GPU block
_THREADS = 1024  # of a GPU block
_CHUNK = 256  # points of a row between two prefetches
_BATCH = 4  # rows of two dimensions that one time level takes before the next level does, on a CPU
_BATCH_OF_PLANES = 2  # the same in three dimensions, where all levels share a ring
_ROW = 576  # points of a row that a tile of two dimensions loads, on a CPU
_PAGE = 4096  # bytes by which a processor at first tells addresses apart
_NEAR = 512  # bytes
_STRETCH = 64  # points gathered before they are stored past the caches
_NO_ENDS_J = {
    "PERIODIC_J": True,
    "SIDED_J": False,
    "SIDE_J0": False,
    "SIDE_J1": False,
    "LOW_J": 0,
    "HIGH_J": 0,
}
_TILE = 16384  # bytes of one time level of a tile in one dimension, on a CPU


@dataclass(frozen=True)
class Plan:
    """One way to cut.

    Attributes
    ----------
    kernel : str
    steps : int
        The most steps a pass may take.
    defines : dict
        Of the kernel.
    scratch : int
        Values that it needs beside its arguments.
    reach : int
        Points that a pass needs of other ranks around a block, 0 where nothing is cut.
    order : numpy.ndarray
        Where an axis is cut, the numbers of the tiles: first the ``inner`` ones that need no other rank's points.
    inner : int
    flags : int
        Numbers that say whether a part of a pass wrote values that are not finite, 0 where nothing looks.
    """

    kernel: str
    steps: int
    defines: dict[str, Any]
    scratch: int = 0
    reach: int = 0
    order: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0, np.int32))
    inner: int = 0
    flags: int = 0


@dataclass(frozen=True)
class Problem:
    """What decides the cut.

    Attributes
    ----------
    mode : str
    grid : Grid
        This rank's block where several share one.
    ghost, members, components, fields, stages : int
    itemsize : int
        Bytes of a value.
    overlaps : bool
        Leave tiles that need nothing of other ranks, to be advanced while messages are on their way.
    """

    mode: str
    grid: Grid
    ghost: int
    members: int
    components: int
    fields: int
    stages: int
    itemsize: int
    overlaps: bool = False

    @property
    def points(self) -> tuple[int, ...]:
        """Points of the block."""
        return self.grid.points

    @property
    def is_periodic(self) -> tuple[bool, ...]:
        """Whether each axis closes on itself within the block."""
        return tuple(
            periodic and not cut
            for periodic, cut in zip(self.grid.is_periodic, self.grid.is_cut, strict=True)
        )

    @property
    def is_cut(self) -> bool:
        """Whether the block is one of several."""
        return any(self.grid.is_cut)

    @property
    def reach(self) -> int:
        """Points that a step reaches along an axis."""
        return self.stages * self.ghost

    @property
    def is_host(self) -> bool:
        """Whether kernels run on the host's cores."""
        return self.mode in ("Serial", "OpenMP")

    @property
    def is_whole_on_chip(self) -> bool:
        """Whether a block takes a whole member: the caches of a core or one GPU block hold it."""
        return len(self.points) == 1 and not self.is_cut and self._fits_on_chip(self.points[0])

    def plans(self, steps: int | None = None) -> list[Plan]:
        """Return the cuts to choose from: one step a pass, and ``steps`` or as many as pay."""
        if self.is_whole_on_chip:
            return [self._line(self.points[0], _UNLIMITED, 0)]
        several = self._lines(steps) if len(self.points) == 1 else self._planes(steps)
        is_direct = self.is_host and self.stages == self.ghost == 1 and all(self.is_periodic)
        return [self._once(), *several[1:]] if is_direct else several

    def _fits_on_chip(self, width: int) -> bool:
        if width > _LINE.get(self.mode, 256):
            return False
        return self.is_host or self._line_size(width, 1) * self.itemsize <= _SHARED

    def _around(self, axis: int, steps: int) -> tuple[int, int]:
        """Return the points of other ranks below and above the block that a pass of ``steps`` needs."""
        return self.grid.margins(min(steps, _UNLIMITED // self.reach) * self.reach)[axis]

    def _ends(self, letter: str, axis: int, steps: int) -> dict[str, Any]:
        """Return an axis's defines: whether it closes on itself, other ranks' points beyond it, and whether sides end those."""
        low, high = self._around(axis, steps)
        whole = self.grid.whole.points[axis]
        is_bounded = not self.grid.is_periodic[axis]
        begin = self.grid.begin[axis] - low
        return {
            f"PERIODIC_{letter}": self.is_periodic[axis],
            f"SIDED_{letter}": is_bounded,
            f"LOW_{letter}": low,
            f"HIGH_{letter}": high,
            f"SIDE_{letter}0": is_bounded and begin == 0,
            f"SIDE_{letter}1": is_bounded and begin + low + self.points[axis] + high == whole,
        }

    def _in_order(self, plan: Plan, axes: list[Axis]) -> Plan:
        """Return the plan with the order of its tiles where the block is one of several."""
        if not self.is_cut:
            return plan
        order, inner = tiles_in_order(axes, self.members)
        reach = plan.steps * self.reach
        return dataclasses.replace(plan, reach=reach, order=order, inner=inner)

    def _lanes(self, width: int, has_helpers: bool = True) -> int:
        lanes = _VECTOR // self.itemsize if self.is_host and has_helpers else 1
        return lanes if width % lanes == 0 and width // lanes >= 2 * self.ghost else 1

    def _line_size(self, width: int, lanes: int) -> int:
        line = width + 2 * self.ghost * lanes
        return (max(2, self.stages) * self.components + self.fields) * line

    def _pad(self, width: int, lanes: int) -> int:
        """Return the values between two time levels, by which stores to one are not mistaken for loads of the other."""
        beyond = self.components * (width + 2 * self.ghost * lanes) * self.itemsize % _PAGE
        is_near = not _PAGE // 4 <= beyond <= 3 * _PAGE // 4
        return (_PAGE // 2 - beyond) % _PAGE // self.itemsize if self.is_host and is_near else 0

    def _line(self, width: int, steps: int, margin: int, lanes: int | None = None) -> Plan:
        points = self.points[0]
        low, high = self._around(0, steps)
        core = points if width == points + low + high else width - 2 * margin
        lanes = lanes or self._lanes(width)
        axis = Axis(points, low, high, core, margin, width, self.is_cut)
        defines = {
            "DIM": 1,
            "NI": points,
            **self._ends("I", 0, steps),
            "WIDTH": width,
            "LANES": lanes,
            "COLUMNS": width // lanes,
            "BUFFERS": max(2, self.stages),
            "PAD": self._pad(width, lanes),
            "EDGE": margin,
            "CORE": core,
            "TILES": axis.tiles,
            "RECORDING": steps == _UNLIMITED,
            "HAS_HELPERS": lanes == _VECTOR // self.itemsize and self.is_host and has_helpers(),
            "STREAM": self._is_large and has_helpers(),
        }
        flags = self.members * axis.tiles if self.is_host and steps < _UNLIMITED else 0
        defines |= {"WATCH": flags > 0, "FLAGS": flags}
        return self._in_order(Plan("march_line", steps, defines, flags=flags), [axis])

    def _lines(self, steps: int | None) -> list[Plan]:
        most = steps or max(1, (64 if self.is_host else 16) // self.reach)
        plans = [self._line(self._width(1), 1, self.reach, lanes=1)]
        return (
            plans if most == 1 else [*plans, self._line(self._width(most), most, most * self.reach)]
        )

    def _width(self, steps: int) -> int:
        """Return the points of a tile in one dimension; the block with its surroundings where that fits on chip."""
        whole = self.points[0] + sum(self._around(0, steps))
        if self.is_cut and self._fits_on_chip(whole) and not self.overlaps:
            return whole
        width = _TILE // self.itemsize if self.is_host else 256
        while not self.is_host and self._line_size(width, 1) * self.itemsize > _SHARED:
            width //= 2
        return min(width, whole)

    def _once(self) -> Plan:
        """Return the one step of a one-stage method that needs no blocks: each worker owns a stretch of the first axis."""
        points = (*(1,) * (3 - len(self.points)), *self.points)
        if len(points) == 3 and len(self.points) == 2:
            points = (self.points[0], 1, self.points[1])
        workers = 1 if self.mode == "Serial" else thread_count()
        is_line = len(self.points) == 1
        stride = _STRETCH * self.components + 64
        defines = {
            "ONCE": True,
            "DIM": len(self.points),
            **{f"N{axis}": n for axis, n in zip("KJI", points, strict=True)},
            "WORKERS": workers,
            "FIRST_K": 0 if is_line else f"(worker * NK / {workers})",
            "LAST_K": 1 if is_line else f"((worker + 1) * NK / {workers})",
            "FIRST_I": f"(worker * columns / {workers})" if is_line else 0,
            "LAST_I": f"((worker + 1) * columns / {workers})" if is_line else "NI",
            "ROWS_J": 64,
            "CHUNK": _STRETCH,
            "AHEAD": 1024 if has_helpers() else 0,
            "STRIDE": stride,
            "STREAM": self._is_large and has_helpers(),
            "FLAGS": workers,
        }
        return Plan("march_once", 1, defines, workers * stride, flags=workers)

    def _planes(self, steps: int | None) -> list[Plan]:
        cut = self._host_plane if self.is_host else self._device_plane
        return [cut(1), *(plan for plan in [cut(steps)] if plan.steps > 1)]

    def _plane(self, steps: int, core: tuple[int, int, int], workers: int | None) -> Plan:
        is_flat = len(self.points) == 2
        points = self.points if not is_flat else (self.points[0], 1, self.points[1])
        is_periodic = (self.is_periodic[0], is_flat or self.is_periodic[1], self.is_periodic[-1])
        is_cut = (self.grid.is_cut[0], not is_flat and self.grid.is_cut[1], self.grid.is_cut[-1])
        around = [
            self._around(0, steps),
            (0, 0) if is_flat else self._around(1, steps),
            self._around(-1, steps),
        ]
        ghosts = (self.ghost, self.ghost if len(self.points) == 3 else 0, self.ghost)
        levels = steps * self.stages
        align = _VECTOR // self.itemsize if self.is_host else 1
        margins = [levels * g for g in ghosts]
        margins[2] = -(-margins[2] // align) * align
        if (
            is_periodic[2]
            and core[2] >= points[2]
            and self._lanes(points[2], has_helpers() and self.ghost == 1) > 1
        ):
            margins[2] = 0  # a row in lanes closes on itself
        most = [n + low + high for n, (low, high) in zip(points, around, strict=True)]
        widths = [
            c + 2 * margin if periodic and margin else min(c + 2 * margin, n)
            for c, margin, periodic, n in zip(core, margins, is_periodic, most, strict=True)
        ]
        cores = [
            n if not periodic and width == whole else c
            for c, width, periodic, n, whole in zip(
                core, widths, is_periodic, points, most, strict=True
            )
        ]
        cores[0] = core[0]
        axes = [
            Axis(n, ends[0], ends[1], c, margin, width if number else None, cut)
            for number, (n, ends, c, margin, width, cut) in enumerate(
                zip(points, around, cores, margins, widths, is_cut, strict=True)
            )
        ]
        blocks = [axis.tiles for axis in axes]
        # Of one-stage methods all levels share a ring; see march_plane.okl.
        rings = 1 if self.stages == 1 else levels
        ring = (2 * levels if self.stages == 1 else self.stages) * self.ghost + 1
        batch = 1
        if self.is_host and (is_flat or self.stages == 1):
            batch = _BATCH if is_flat else _BATCH_OF_PLANES
        ring += (batch - 1) + (0 if self.grid.is_periodic[0] else self.ghost)
        left = align if self.is_host else self.ghost
        lanes = self._lanes(widths[2], has_helpers() and self.ghost == 1)
        pitch = -(-(left + widths[2] + max(self.ghost, lanes)) // align) * align
        rows = widths[1] + 2 * ghosts[1]
        while self.is_host and self._is_mistaken(pitch, rows):
            pitch += align
        sheet = pitch * rows
        size = rings * ring * self.components * sheet
        size += (levels * self.ghost + self.ghost + 1 + batch) * self.fields * sheet
        stride = size + (self.components * sheet)
        pieces = max(1, round(widths[2] / _CHUNK))
        stride = -(-stride // align) * align + (1024 if self.is_host else 0)
        total = self.members * math.prod(blocks)
        workers = min(workers or total, total)
        defines = {
            "DIM": len(self.points),
            **{f"N{axis}": n for axis, n in zip("KJI", points, strict=True)},
            **self._ends("K", 0, steps),
            **(_NO_ENDS_J if is_flat else self._ends("J", 1, steps)),
            **self._ends("I", -1, steps),
            **{f"CORE_{axis}": c for axis, c in zip("KJI", cores, strict=True)},
            **{f"BLOCKS_{axis}": b for axis, b in zip("KJI", blocks, strict=True)},
            "WJ": widths[1],
            "WI": widths[2],
            "GJ": ghosts[1],
            "LEVELS": levels,
            "RING": ring,
            "BATCH": batch,
            "BEYOND": (2 * levels + 2) * self.ghost + 1,
            "MARGIN_I": margins[2],
            "LANES": lanes,
            "FETCH": self.is_host and has_helpers(),
            "STREAM": self._is_large and has_helpers(),
            "CHUNK": -(-widths[2] // (pieces * align)) * align,
            "LEFT": left,
            "PITCH": pitch,
            "ALIGN": align,
            "WORKERS": workers,
            "STRIDE": stride,
            "SCRATCH": workers * stride if self.is_host else 0,
            "FLAGS": total if self.is_host else 0,
        }
        scratch = workers * stride if self.is_host else size
        plan = Plan("march_plane", steps, defines, scratch, flags=defines["FLAGS"])
        return self._in_order(plan, axes)

    def _is_mistaken(self, pitch: int, rows: int) -> bool:
        """Return whether a processor would take loads of a sweep for what it has just stored.

        It compares addresses by their last 12 bits at first. A sweep stores where it reads the row below; its other loads
        must not follow those stores closely there.
        """
        sheet = pitch * rows
        components = range(1 - self.components, self.components)
        planes = [n * self.components * sheet for n in (0, 1, 2)]
        beside = [planes[1] - pitch, planes[1] + pitch] if rows > 1 else []
        apart = [(n + c * sheet) * self.itemsize for n in planes + beside for c in components]
        return any(0 < -distance % _PAGE < _NEAR for distance in apart)

    @property
    def _is_large(self) -> bool:
        """Whether what a pass writes has left a CPU's caches before it is read again."""
        state = self.members * self.components * math.prod(self.points) * self.itemsize
        return self.is_host and 2 * state > cache_bytes(3)

    def _host_plane(self, steps: int | None) -> Plan:
        """Return whole rows, a chunk of them for each thread, as many levels as a core's cache holds."""
        threads = 1 if self.mode == "Serial" else thread_count()
        chunks = -(-threads // math.gcd(threads, self.members))
        pieces_of = [3 if self.overlaps and cut else 1 for cut in self.grid.is_cut]
        chunks *= pieces_of[0]
        rows = -(-self.points[0] // chunks)
        reach = self.reach
        is_flat = len(self.points) == 2
        row = -(-self.points[-1] // pieces_of[-1])
        highest = -(-self.points[1] // pieces_of[1])
        most_of_all = max(1, (25 if is_flat else 9) // reach)
        room = max(1.25 * cache_bytes(), cache_bytes(3) / (4 * threads))
        candidates = [
            (most, core_j, core_i)
            for most in ([steps] if steps else range(most_of_all, 1, -1))
            for core_i in sorted({row, self._piece(row, most)}, reverse=not is_flat)
            for core_j in ([1] if is_flat else range(128, 5 * most * reach, -8))
        ]
        for most, core_j, core_i in candidates:
            if most > 1 and (4 if is_flat else 2) * most * reach > rows:
                continue  # too much margin for the rows
            core_j = 1 if is_flat else -(-highest // -(-highest // core_j))
            plan = self._plane(most, (rows, core_j, core_i), threads)
            if plan.scratch // threads * self.itemsize <= room:
                return plan
        core_j = 1 if is_flat else min(highest, 16)
        return self._plane(steps or 1, (rows, core_j, self._piece(row, steps or 1)), threads)

    def _piece(self, row: int, steps: int) -> int:
        """Return the points of a row that a tile of a CPU owns."""
        if len(self.points) == 3:
            return min(row, 512)
        align = _VECTOR // self.itemsize
        margin = -(-steps * self.reach // align) * align
        if row <= _ROW:
            return row
        tiles = -(-row // max(align, _ROW - 2 * margin))
        return -(-row // (tiles * align)) * align

    def _device_plane(self, steps: int | None) -> Plan:
        """Return the tile of a GPU block that fits shared memory and spends least on its margins."""
        is_flat = len(self.points) == 2
        best: tuple[float, Plan] | None = None
        for most in [steps] if steps else [4, 2, 1]:
            margin = most * self.stages * self.ghost
            for width_j in (1,) if is_flat else (4, 8, 16, 32):
                for width_i in (32, 64, 128, 256):
                    core_j = 1 if is_flat else width_j - 2 * margin
                    core_i = width_i - 2 * margin
                    if core_i < 1 or core_j < 1 or width_i * width_j > _THREADS:
                        continue
                    core = (
                        64,
                        min(core_j, 1 if is_flat else self.points[1]),
                        min(core_i, self.points[-1]),
                    )
                    plan = self._plane(most, core, None)
                    if plan.scratch * self.itemsize > _SHARED:
                        continue
                    useful = core_i * core_j / (width_i * width_j)
                    score = useful * most**0.5
                    if best is None or score > best[0]:
                        best = (score, plan)
        if best is None:
            return self._plane(1, (16, 1, 1), None)
        return dataclasses.replace(best[1], scratch=0)


@functools.cache
def cache_bytes(level: int = 2) -> int:
    """Return the size of a core's cache of that level; 1 MiB or, of the third, 32 MiB where the system does not say."""
    size = Path(f"/sys/devices/system/cpu/cpu0/cache/index{level}/size")
    text = size.read_text().strip() if size.exists() else ""
    return int(text[:-1]) * 1024 if text.endswith("K") else 1 << (20 if level == 2 else 25)


def has_helpers() -> bool:
    """Return whether host kernels include the functions of ``jit/occa.hpp``: with OCCA 1 they do."""
    return _occa.occa_version_number < 20000


def has_fma(device: Device) -> bool:
    """Return whether a fused multiply-add is one instruction there."""
    return not device.is_host or "fma" in _processor_flags()


@functools.cache
def _processor_flags() -> frozenset[str]:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return frozenset(flag for line in lines if line.startswith("flags") for flag in line.split())

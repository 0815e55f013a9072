"""How a grid is cut into blocks for passes over memory. Integer arithmetic; no choice here changes a result."""

import dataclasses
import functools
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from solver import _occa
from solver.device import Device

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
_STRETCH = 64  # points gathered before they are stored past the caches
_TILE = 16384  # bytes of one time level of a tile in one dimension, on a CPU


@dataclass(frozen=True)
class Plan:
    """One way to cut: the kernel, the most steps a pass may take, the kernel's defines, and the values of scratch it needs."""

    kernel: str
    steps: int
    defines: dict[str, Any]
    scratch: int = 0


@dataclass(frozen=True)
class Problem:
    """What decides the cut.

    Attributes
    ----------
    mode : str
    points : tuple of int
    is_periodic : tuple of bool
    ghost, members, components, fields, stages : int
    itemsize : int
        Bytes of a value.
    """

    mode: str
    points: tuple[int, ...]
    is_periodic: tuple[bool, ...]
    ghost: int
    members: int
    components: int
    fields: int
    stages: int
    itemsize: int

    @property
    def is_host(self) -> bool:
        """Whether kernels run on the host's cores."""
        return self.mode in ("Serial", "OpenMP")

    @property
    def is_whole_on_chip(self) -> bool:
        """Whether a block takes a whole member: the caches of a core or one GPU block hold it."""
        if len(self.points) > 1 or self.points[0] > _LINE.get(self.mode, 256):
            return False
        return self.is_host or self._line_size(self.points[0], 1) * self.itemsize <= _SHARED

    def plans(self) -> list[Plan]:
        """Return the cuts to choose from: one step a pass, and as many as pay."""
        if self.is_whole_on_chip:
            return [self._line(self.points[0], _UNLIMITED, 0)]
        several = self._lines() if len(self.points) == 1 else self._planes()
        is_direct = self.is_host and self.stages == self.ghost == 1 and all(self.is_periodic)
        return [self._once(), *several[1:]] if is_direct else several

    def _lanes(self, width: int) -> int:
        lanes = _VECTOR // self.itemsize if self.is_host else 1
        return lanes if width % lanes == 0 and width // lanes >= 2 * self.ghost else 1

    def _line_size(self, width: int, lanes: int) -> int:
        line = width + 2 * self.ghost * lanes
        return (max(2, self.stages) * self.components + self.fields) * line

    def _line(self, width: int, steps: int, margin: int, lanes: int | None = None) -> Plan:
        core = width - 2 * margin
        lanes = lanes or self._lanes(width)
        defines = {
            "DIM": 1,
            "NI": self.points[0],
            "PERIODIC_I": self.is_periodic[0],
            "WIDTH": width,
            "LANES": lanes,
            "COLUMNS": width // lanes,
            "BUFFERS": max(2, self.stages),
            "EDGE": margin,
            "CORE": core,
            "TILES": -(-self.points[0] // core),
            "RECORDING": steps == _UNLIMITED,
            "STREAM": self._is_large and has_helpers(),
        }
        return Plan("march_line", steps, defines)

    def _lines(self) -> list[Plan]:
        if self.is_host:
            width, most = _TILE // self.itemsize, max(1, 64 // (self.stages * self.ghost))
        else:
            width, most = 256, max(1, 16 // (self.stages * self.ghost))
            while self._line_size(width, 1) * self.itemsize > _SHARED:
                width //= 2
        reach = self.stages * self.ghost
        plans = [self._line(width, 1, reach, lanes=1)]
        return plans if most == 1 else [*plans, self._line(width, most, most * reach)]

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
        }
        return Plan("march_once", 1, defines, workers * stride)

    def _planes(self) -> list[Plan]:
        cut = self._host_plane if self.is_host else self._device_plane
        return [cut(1), *(plan for plan in [cut(None)] if plan.steps > 1)]

    def _plane(self, steps: int, core: tuple[int, int, int], workers: int | None) -> Plan:
        points = self.points if len(self.points) == 3 else (self.points[0], 1, self.points[1])
        is_periodic = (
            self.is_periodic[0],
            len(self.points) == 2 or self.is_periodic[1],
            self.is_periodic[-1],
        )
        ghosts = (self.ghost, self.ghost if len(self.points) == 3 else 0, self.ghost)
        levels = steps * self.stages
        align = _VECTOR // self.itemsize if self.is_host else 1
        margins = [levels * g for g in ghosts]
        margins[2] = -(-margins[2] // align) * align
        widths = [
            c + 2 * margin if periodic else min(c + 2 * margin, n)
            for c, margin, periodic, n in zip(core, margins, is_periodic, points, strict=True)
        ]
        cores = [
            n if not periodic and width == n else c
            for c, width, periodic, n in zip(core, widths, is_periodic, points, strict=True)
        ]
        cores[0] = core[0]
        blocks = [-(-n // c) for n, c in zip(points, cores, strict=True)]
        # Of one-stage methods all levels share a ring; see march_plane.okl.
        rings = 1 if self.stages == 1 else levels
        ring = (2 * levels if self.stages == 1 else self.stages) * self.ghost + 1
        ring += 0 if is_periodic[0] else self.ghost
        left = align if self.is_host else self.ghost
        pitch = -(-(left + widths[2] + self.ghost) // align) * align
        sheet = pitch * (widths[1] + 2 * ghosts[1])
        size = rings * ring * self.components * sheet
        size += (levels * self.ghost + self.ghost + 2) * self.fields * sheet
        stride = size + (self.components * sheet if steps == 1 else 0)
        pieces = max(1, round(widths[2] / _CHUNK))
        stride = -(-stride // align) * align + (1024 if self.is_host else 0)
        total = self.members * math.prod(blocks)
        workers = min(workers or total, total)
        defines = {
            "DIM": len(self.points),
            **{f"N{axis}": n for axis, n in zip("KJI", points, strict=True)},
            **{f"PERIODIC_{axis}": p for axis, p in zip("KJI", is_periodic, strict=True)},
            **{f"CORE_{axis}": c for axis, c in zip("KJI", cores, strict=True)},
            **{f"BLOCKS_{axis}": b for axis, b in zip("KJI", blocks, strict=True)},
            "WJ": widths[1],
            "WI": widths[2],
            "GJ": ghosts[1],
            "LEVELS": levels,
            "RING": ring,
            "BEYOND": (2 * levels + 2) * self.ghost + 1,
            "MARGIN_I": margins[2],
            # Passes of several steps are bound by arithmetic, and gain nothing from either.
            "HAS_HELPERS": steps == 1 and self.is_host and has_helpers(),
            "STREAM": steps == 1 and self._is_large and has_helpers(),
            "CHUNK": -(-widths[2] // (pieces * align)) * align,
            "LEFT": left,
            "ALIGN": align,
            "WORKERS": workers,
            "STRIDE": stride,
            "SCRATCH": workers * stride if self.is_host else 0,
        }
        return Plan("march_plane", steps, defines, workers * stride if self.is_host else size)

    @property
    def _is_large(self) -> bool:
        """Whether what a pass writes has left a CPU's caches before it is read again."""
        state = self.members * self.components * math.prod(self.points) * self.itemsize
        return self.is_host and 2 * state > cache_bytes(3)

    def _host_plane(self, steps: int | None) -> Plan:
        """Return whole rows, a chunk of them for each thread, as many levels as a core's cache holds."""
        threads = 1 if self.mode == "Serial" else thread_count()
        chunks = -(-threads // math.gcd(threads, self.members))
        rows = -(-self.points[0] // chunks)
        reach = self.stages * self.ghost
        is_flat = len(self.points) == 2
        piece = 2048 if is_flat else 512
        pieces = sorted({self.points[-1], min(self.points[-1], piece)}, reverse=True)
        most_of_all = (16 if is_flat else 5) // reach
        candidates = [
            (most, core_j, core_i)
            for most in ([steps] if steps else range(most_of_all, 1, -1))
            for core_i in pieces
            for core_j in ([1] if is_flat else range(128, 5 * most * reach, -8))
        ]
        for most, core_j, core_i in candidates:
            if most > 1 and 2 * most * reach > rows:
                continue  # more margin than rows
            core = (rows, min(core_j, 1 if is_flat else self.points[1]), core_i)
            plan = self._plane(most, core, threads)
            if plan.scratch // threads * self.itemsize <= 1.25 * cache_bytes():
                return plan
        core_j = 1 if is_flat else min(self.points[1], 16)
        return self._plane(steps or 1, (rows, core_j, pieces[-1]), threads)

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


def thread_count() -> int:
    """Return how many threads an OpenMP kernel gets."""
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return int(asked) if asked.isdigit() and int(asked) > 0 else len(os.sched_getaffinity(0))


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

"""Geometric multigrid for the pressure: one V-cycle as a preconditioner, in single precision."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from solver._occa import Kernel, Memory
from solver.device import Device
from solver.errors import ParameterError
from solver.grid import Grid
from solver.kernel import shipped
from solver.precision import real_literal, real_type

COARSEST = 16  # points along an axis, from which on the coarsest level is solved directly
COARSEST_LIMIT = 128  # what the direct solver takes, where no axis can get coarser
STRONG = 1.5  # axes with a spacing below this times the smallest one get coarser
NARROW = 1 << 14  # cells, below which an OpenMP team costs more than it gives
SINGLE = "float32"


@dataclass(frozen=True)
class Level:
    """A grid of the hierarchy, in three dimensions; the first has one point where the grid has two.

    Attributes
    ----------
    points : tuple of int
        Cells along each axis.
    spacing : tuple of float
        Distance of their centres.
    wraps : tuple of int
        1 where the axis is periodic.
    axes : int
        2 or 3.
    """

    points: tuple[int, ...]
    spacing: tuple[float, ...]
    wraps: tuple[int, ...]
    axes: int

    @classmethod
    def finest(cls, grid: Grid) -> "Level":
        """Return the level of a grid of two or three axes."""
        axes = len(grid.points)
        wraps = tuple(int(is_periodic) for is_periodic in grid.is_periodic)
        return cls(
            (1,) * (3 - axes) + grid.points,
            (math.inf,) * (3 - axes) + grid.spacing,
            (0,) * (3 - axes) + wraps,
            axes,
        )

    @property
    def size(self) -> int:
        """Number of cells."""
        return math.prod(self.points)

    @property
    def box(self) -> tuple[int, ...]:
        """The kernels' first arguments."""
        return (*self.points, *self.wraps)

    @property
    def unit(self) -> float:
        """The smallest spacing h; A is −h²∇²."""
        return min(self.spacing)

    @property
    def weights(self) -> tuple[float, ...]:
        """(h/Δa)² for each axis a; 0 where there is one point."""
        return tuple((self.unit / spacing) ** 2 for spacing in self.spacing)

    @property
    def factors(self) -> tuple[int, ...]:
        """2 on the axes that get coarser: those of an even number of points that are coupled most strongly, else 1."""
        return tuple(
            2 if n % 2 == 0 and n > 2 and spacing < STRONG * self.unit else 1
            for n, spacing in zip(self.points, self.spacing, strict=True)
        )

    @property
    def is_coarsest(self) -> bool:
        """Whether it is solved directly."""
        return max(self.points) <= COARSEST or max(self.factors) == 1

    def coarser(self) -> "Level":
        """Return the next level."""
        return Level(
            tuple(n // factor for n, factor in zip(self.points, self.factors, strict=True)),
            tuple(dx * factor for dx, factor in zip(self.spacing, self.factors, strict=True)),
            self.wraps,
            self.axes,
        )

    @property
    def smoothing(self) -> tuple[float, float]:
        """The two coefficients of x + first d + second A d, best for what the next level cannot represent.

        Chebyshev's polynomial of degree two over the part [low, 2] of the spectrum of A divided by its diagonal, low the
        eigenvalue of a mode of four cells along the axis with the smallest weight that gets coarser.
        Source: Adams, Brezina, Hu & Tuminaro 2003, doi:10.1016/S0021-9991(03)00194-3.
        """
        diagonal = 2 * sum(self.weights)
        low = min(
            2 * weight / diagonal
            for weight, factor in zip(self.weights, self.factors, strict=True)
            if factor == 2
        )
        centre, half = (2 + low) / 2, (2 - low) / 2
        ratio = half / centre
        next_ratio = 1 / (2 / ratio - ratio)
        curved = 2 * next_ratio / half
        return (
            ((1 + next_ratio * ratio) / centre + curved) / diagonal,
            -curved / (centre * diagonal**2),
        )


def hierarchy(grid: Grid) -> list[Level]:
    """Return the levels of a grid, the finest first.

    Raises
    ------
    ParameterError
        The coarsest would be too large to be solved directly.
    """
    levels = [Level.finest(grid)]
    while not levels[-1].is_coarsest:
        levels.append(levels[-1].coarser())
    coarsest = levels[-1].points[-levels[-1].axes :]
    if max(coarsest) > COARSEST_LIMIT:
        raise ParameterError(
            f"grid.points must halve down to at most {COARSEST_LIMIT} points an axis for the pressure, got {grid.points} with "
            f"spacings {grid.spacing}, which end at {coarsest}; choose points with more factors of 2"
        )
    return levels


class Multigrid:
    """One V-cycle for A x = f, A = −h²∇² on cell centres, from x = 0.

    A level is smoothed before and after the coarser one, which receives averages of the residual and gives linear
    interpolants back. Axes get coarser while they are coupled strongly, so that spacings may differ at will; the coarsest
    level is diagonalised axis by axis (Lynch, Rice & Thomas 1964, doi:10.1007/BF01386067).
    The mean of x, which A does not see, is round-off.

    Parameters
    ----------
    device : Device
    grid : Grid
        Two or three axes.
    dtype : {"float64", "float32"}
        Of the residual; the levels are in float32, which a preconditioner need not exceed.

    Raises
    ------
    ParameterError
        The grid does not get coarse enough.
    """

    def __init__(self, device: Device, grid: Grid, dtype: str):
        self._device = device
        self.levels = hierarchy(grid)
        self.groups = groups(device)
        self._defines = {
            "HOST": int(device.is_host),
            "AXES": self.levels[0].axes,
            "GROUPS": self.groups,
            "dfloat": real_type(dtype),
        }
        self._f, self._x, self._d = (
            [device.allocate((level.size,), SINGLE) for level in self.levels] for _ in range(3)
        )
        self._before = device.allocate((self.levels[0].size,), SINGLE)
        self._f[0].copy_from(np.zeros(self.levels[0].size, SINGLE))
        self._results = device.allocate((2 * self.groups,), "float64")
        self._direct = Direct(device, self.levels[-1], self._build)
        self._kernels: dict[tuple[str, int], Kernel] = {}
        for number, level in enumerate(self.levels):
            self._prepare(number, level)

    @property
    def result(self) -> Memory:
        """What the last cycle gave: x in float32, shape ``(cells,)``, on the device."""
        return self._x[0]

    def cycle(self, r: Memory, mean: float, scale: float) -> tuple[float, float]:
        """Solve A x = f = scale (r − mean) roughly and return the sums of x f and of x times the f of the last cycle.

        Parameters
        ----------
        r : Memory
            Shape ``(cells,)``, on the device.
        mean : float
            Of r; left in, it would be mistaken for smooth error.
        scale : float
            Brings r near 1, where float32 has room.
        """
        last = len(self.levels) - 1
        self._f[0], self._before = self._before, self._f[0]
        self._smooth("multigrid_begin_finest", 0, scale, mean, r, self._f[0], self._x[0])
        for n in range(last):
            if n:
                self._smooth("multigrid_begin", n, self._f[n], self._x[n])
            self._restrict(n)
        self._direct.solve(self._f[last], self._x[last])
        for n in reversed(range(last)):
            self._prolong(n)
            self._residual(n)
            if n:
                self._smooth("multigrid_end", n, self._d[n], self._x[n])
        d = self._d[0] if last else self._f[0]
        self._smooth(
            "multigrid_end_finest", 0, self._f[0], self._before, d, self._x[0], self._results
        )
        product, product_before = sums(self._results, 2, self.groups)
        return product, product_before

    def _smooth(self, name: str, n: int, *arguments: Any) -> None:
        level = self.levels[n]
        smoothing = (0.0, 0.0) if level.is_coarsest else level.smoothing
        self._kernels[name, n](*level.box, *level.weights, *smoothing, *arguments)

    def _residual(self, n: int) -> None:
        level = self.levels[n]
        self._kernels["multigrid_residual", n](
            *level.box, *level.weights, self._f[n], self._x[n], self._d[n]
        )

    def _restrict(self, n: int) -> None:
        fine, coarse = self.levels[n], self.levels[n + 1]
        scale = (coarse.unit / fine.unit) ** 2 / math.prod(fine.factors)
        self._kernels["multigrid_restrict", n](
            *coarse.box, *fine.weights, scale, self._f[n], self._x[n], self._f[n + 1]
        )

    def _prolong(self, n: int) -> None:
        coarse = self.levels[n + 1]
        self._kernels["multigrid_prolong", n](*coarse.box, self._x[n + 1], self._x[n])

    def _prepare(self, number: int, level: Level) -> None:
        suffixes: tuple[str, ...] = (
            ("begin_finest", "end_finest") if number == 0 else ("begin", "end")
        )
        if not level.is_coarsest:
            suffixes += ("residual", "restrict", "prolong")
        for suffix in suffixes:
            name = f"multigrid_{suffix}"
            self._kernels[name, number] = self._build(name, level)

    def _build(self, name: str, level: Level) -> Kernel:
        is_transfer = name in ("multigrid_restrict", "multigrid_prolong")
        defines = self._defines | (_transfer_defines(level) if is_transfer else {})
        kernel = self._device.build(shipped("multigrid.okl"), name, defines)
        kernel.threads = int(level.size < NARROW)
        return kernel


class Direct:
    """The exact solution on a small level, by the eigenvectors of each axis; the constant part is left out.

    Parameters
    ----------
    device : Device
    level : Level
    build : callable
        Gives a kernel of multigrid.okl for a level.
    """

    def __init__(self, device: Device, level: Level, build: Callable[[str, Level], Kernel]):
        self._rotate = build("multigrid_rotate", level)
        self._points = level.points[-level.axes :]
        pairs = [
            np.linalg.eigh(weight * second_difference(n, wraps))
            for n, weight, wraps in list(
                zip(level.points, level.weights, level.wraps, strict=True)
            )[-level.axes :]
        ]
        values = sum(np.meshgrid(*(value for value, _ in pairs), indexing="ij"), np.zeros(1))
        is_null = values < 1e-10 * values.max()
        inverse = np.where(is_null, 0, 1 / np.where(is_null, 1, values))

        def on_device(array: np.ndarray) -> Memory:
            memory = device.allocate((array.size,), SINGLE)
            memory.copy_from(np.ascontiguousarray(array, dtype=SINGLE).ravel())
            return memory

        self._forward = [on_device(vectors) for _, vectors in pairs]
        self._backward = [on_device(vectors.T) for _, vectors in pairs]
        self._ones, self._inverse = on_device(np.ones(level.size)), on_device(inverse)
        self._scratch = [on_device(np.zeros(level.size)) for _ in range(2)]

    def solve(self, f: Memory, x: Memory) -> None:
        """Write the solution of A x = f, without its mean; every rotation brings the next axis to the front."""
        axes, size = len(self._points), math.prod(self._points)
        source = f
        for turn, matrix in enumerate((*self._forward, *self._backward)):
            length = self._points[turn % axes]
            target = x if turn == 2 * axes - 1 else self._scratch[turn % 2]
            factor = self._inverse if turn == axes else self._ones
            self._rotate(length, size // length, matrix, factor, source, target)
            source = target


def _transfer_defines(level: Level) -> dict[str, Any]:
    defines: dict[str, Any] = {}
    for letter, factor in zip("ZYX", level.factors, strict=True):
        near = 0.75 if factor == 2 else 1.0
        defines[f"F{letter}"] = factor
        defines[f"NEAR_{letter}"] = real_literal(near, SINGLE)
        defines[f"FAR_{letter}"] = real_literal(1 - near, SINGLE)
    return defines


def second_difference(n: int, wraps: int) -> np.ndarray:
    """Return the matrix of 2x_i − x_{i−1} − x_{i+1}, where a cell beyond a side is the cell before it or the other side's."""
    eye = np.eye(n)
    left, right = np.roll(eye, -1, axis=1), np.roll(eye, 1, axis=1)
    if not wraps:
        left[0], right[-1] = eye[0], eye[-1]
    return 2 * eye - left - right


def sums(results: Memory, count: int, groups: int) -> list[float]:
    """Return the first ``count`` results of a reduction, added up on the host in a fixed order."""
    partial = np.empty((count, groups))
    results[: partial.size].copy_to(partial.ravel())
    return partial.sum(axis=1).tolist()


def groups(device: Device) -> int:
    """Return into how many parts a reduction is divided."""
    return 64 if device.is_host else 256

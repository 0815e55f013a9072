"""Geometric multigrid for the pressure: one V-cycle as a preconditioner, in single precision."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from solver._occa import Kernel, Memory
from solver.assembly import Assembly
from solver.device import Device
from solver.direct import Direct
from solver.errors import ParameterError
from solver.grid import Block, Grid
from solver.kernel import shipped
from solver.levels import Level, hierarchy
from solver.patch import Margins, Patch
from solver.precision import real_literal, real_type
from solver.reduction import Reduction, group_count

__all__ = ["MARGIN", "NARROW", "Multigrid"]

NARROW = 1 << 14  # cells, below which an OpenMP team costs more than it gives
SINGLE = "float32"
GATHERED = 16**3  # cells, from which on every rank solves for all cells
GATHERED_LIMIT = 32**3  # where blocks would get too small before

# The right-hand side of a level is needed three cells around the block, for three stencils reach into the result one after the
# other: the smoothing before the coarser level, the residual and the smoothing after it. The finest level's must survive that A
# is applied to the result.
MARGIN, COARSE_MARGIN = 4, 3


class Multigrid:
    """One V-cycle for A x = f, A = −h²∇² on cell centres, from x = 0.

    A level is smoothed before and after the coarser one, which receives averages of the residual and gives linear
    interpolants back. Axes get coarser while they are coupled strongly, so that spacings may differ at will; the coarsest
    level is diagonalised axis by axis (Lynch, Rice & Thomas 1964, doi:10.1007/BF01386067).
    The mean of x, which A does not see, is round-off.

    Where ranks share the grid, each has a patch of every level that is large, whose margins are renewed twice a cycle; all ranks
    solve for all cells of the first level that is small. Every cell gets the bits that one rank would give it.

    Parameters
    ----------
    device : Device
    grid : Grid
        Two or three axes; or a rank's block of it, where all ranks make the same calls.
    dtype : {"float64", "float32"}
        Of the residual; the levels are in float32, which a preconditioner need not exceed.

    Attributes
    ----------
    patch : Patch
        Of the finest level.

    Raises
    ------
    ParameterError
        The grid does not get coarse enough, or blocks get too small before it is.
    """

    def __init__(self, device: Device, grid: Grid, dtype: str):
        self._device = device
        self.levels = _shared(grid, hierarchy(grid.whole))
        self._patches = [
            Patch(_part(grid, level), COARSE_MARGIN if n else MARGIN)
            for n, level in enumerate(self.levels)
        ]
        self.patch = self._patches[0]
        self._defines = {
            "HOST": int(device.is_host),
            "AXES": self.levels[0].axes,
            "GROUPS": group_count(device),
            "CUT": self.patch.is_cut,
            "BLOCK": 4096 if device.is_host else 256,
            "dfloat": real_type(dtype),
        }
        self._f, self._x, self._d = (
            [device.allocate((patch.size,), SINGLE) for patch in self._patches] for _ in range(3)
        )
        self._before = device.allocate((self.patch.size,), SINGLE)
        self._f[0].copy_from(np.zeros(self.patch.size, SINGLE))
        last = len(self.levels) - 1
        self._margins = [
            Margins(device, patch, 1, SINGLE) for patch in self._patches[: max(last, 1)]
        ]
        self._reduction = Reduction(device, grid, 2)
        self._kernels: dict[tuple[str, int], Kernel] = {}
        self._operator: list[tuple[float, ...]] = []
        self._smoothing: list[tuple[float, ...]] = []
        self._down: list[tuple[float, ...]] = []
        self._up: list[tuple[float, ...]] = []
        self._prepare()
        bottom = self._patches[last].grid
        if isinstance(bottom, Block):
            kind = SINGLE if last else dtype
            takes = [
                self._build("multigrid_take", last, dfloat=real_type(of)) for of in (kind, SINGLE)
            ]
            self._assembly = Assembly(device, bottom, self._patches[last], kind, *takes)
            self._whole = Multigrid(device, bottom.whole, kind)
        else:
            self._direct = Direct(device, self.levels[last], self._build("multigrid_rotate", last))

    @property
    def result(self) -> Memory:
        """What the last cycle gave: x in float32 with margins, shape ``(cells of the patch,)``, on the device."""
        return self._x[0]

    def cycle(self, r: Memory, mean: float, scale: float) -> None:
        """Solve A x = f = scale (r − mean) roughly.

        Parameters
        ----------
        r : Memory
            Shape ``(cells of the patch,)``, with margins, on the device.
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
                self._margins[n].refresh(self._f[n])
                self._smooth("multigrid_begin", n, self._f[n], self._x[n])
            self._restrict(n)
        if not self.patch.is_cut:
            self._direct.solve(self._f[last], self._x[last])
        elif last:
            self._solve_together(self._f[last], 0.0, 1.0)
        else:
            self._solve_together(r, mean, scale)
        for n in reversed(range(last)):
            self._prolong(n)
            self._residual(n)
            if n:
                self._smooth("multigrid_end", n, self._d[n], self._x[n])
                self._margins[n].refresh(self._x[n])
        d = self._d[0] if last else self._f[0]
        self._smooth(
            "multigrid_end_finest",
            0,
            self._f[0],
            self._before,
            d,
            self._x[0],
            self._reduction.memory,
        )
        self._margins[0].refresh(self._x[0])

    def products(self) -> list[float]:
        """Return the sums of x f and of x times the f of the cycle before, of the last cycle."""
        return self._reduction.sums(2)

    def _smooth(self, name: str, n: int, *arguments: Any) -> None:
        self._kernels[name, n](*self._smoothing[n], *arguments)

    def _residual(self, n: int) -> None:
        self._kernels["multigrid_residual", n](
            *self._operator[n], self._f[n], self._x[n], self._d[n]
        )

    def _restrict(self, n: int) -> None:
        self._kernels["multigrid_restrict", n](
            *self._down[n], self._f[n], self._x[n], self._f[n + 1]
        )

    def _prolong(self, n: int) -> None:
        self._kernels["multigrid_prolong", n](*self._up[n], self._x[n + 1], self._x[n])

    def _solve_together(self, r: Memory, mean: float, scale: float) -> None:
        """Solve on the last level by a cycle of every rank on all of it."""
        self._whole.cycle(self._assembly.collect(r), mean, scale)
        self._assembly.deal(self._whole.result, self._x[-1])

    def _prepare(self) -> None:
        """Build the kernels of each level, and hold the scalars that they are given."""
        last = len(self.levels) - 1
        for n, (level, patch) in enumerate(zip(self.levels, self._patches, strict=True)):
            suffixes = ["begin", "end"] if n else ["begin_finest", "end_finest"]
            operator = (*patch.box, *level.weights)
            self._operator.append(operator)
            self._smoothing.append((*operator, *(level.smoothing if n < last else (0.0, 0.0))))
            if n < last:
                suffixes += ["residual", "restrict", "prolong"]
                coarse = self._patches[n + 1]
                self._down.append(_down(patch, coarse, self.levels[n : n + 2]))
                self._up.append(_up(patch, coarse, level))
            for suffix in suffixes:
                name = f"multigrid_{suffix}"
                self._kernels[name, n] = self._build(name, n)

    def _build(self, name: str, n: int, **defines: Any) -> Kernel:
        if name in ("multigrid_restrict", "multigrid_prolong"):
            defines = _transfer_defines(self.levels[n])
        defines = self._defines | defines
        kernel = self._device.build(shipped("multigrid.okl"), name, defines)
        kernel.threads = int(self._patches[n].size < NARROW)
        return kernel


def _part(grid: Grid, level: Level) -> Grid:
    """Return the level's grid, or this rank's block of it."""
    whole = Grid(level.points[-level.axes :], grid.extent, grid.boundaries)
    if not isinstance(grid, Block):
        return whole
    return Block(whole, replace(grid.decomposition, points=whole.points), grid.comm)


def _shared(grid: Grid, levels: list[Level]) -> list[Level]:
    """Return the levels that ranks share in blocks, and the next one; all where no other rank shares the grid."""
    if not isinstance(grid, Block):
        return levels
    kept, ranks = 0, grid.decomposition.ranks
    while levels[kept].size > GATHERED and not levels[kept].is_coarsest:
        points = levels[kept + 1].points[-len(ranks) :]
        if any(r > 1 and n < 2 * r for n, r in zip(points, ranks, strict=True)):
            if levels[kept].size <= GATHERED_LIMIT:
                break
            raise ParameterError(
                f"every rank must own two cells or more along each shared axis of the pressure's coarser grids, down to one of "
                f"{GATHERED_LIMIT} cells, got {ranks} ranks for {points} cells; use fewer ranks or share other axes"
            )
        kept += 1
    return levels[: kept + 1]


def _down(fine: Patch, coarse: Patch, levels: Sequence[Level]) -> tuple[float, ...]:
    """Return the scalars of the restriction between patches of two levels."""
    scale = (levels[1].unit / levels[0].unit) ** 2 / math.prod(levels[0].factors)
    return (*coarse.box, *_place(fine, coarse, levels[0]), *levels[0].weights, scale)


def _up(fine: Patch, coarse: Patch, level: Level) -> tuple[float, ...]:
    """Return the scalars of the interpolation, to wherever the residual after it is needed: the block and two cells around it."""
    begin, end = [], []
    for axis, factor in enumerate(level.factors):
        first = fine.origin[axis] + max(fine.begin[axis] - 2, 0)
        last = fine.origin[axis] + min(fine.end[axis] + 2, fine.points[axis])
        begin.append(first // factor - coarse.origin[axis])
        end.append(-(-last // factor) - coarse.origin[axis])
    return (*coarse.part(begin, end), *_place(fine, coarse, level))


def _place(fine: Patch, coarse: Patch, level: Level) -> tuple[int, ...]:
    """Return the cells of a patch and, where ranks share the grid, where those of the coarser one's first cell begin in it."""
    if not fine.is_cut:
        return fine.points
    origins = zip(level.factors, coarse.origin, fine.origin, strict=True)
    return (*fine.points, *(factor * far - near for factor, far, near in origins))


def _transfer_defines(level: Level) -> dict[str, Any]:
    defines: dict[str, Any] = {}
    for letter, factor in zip("ZYX", level.factors, strict=True):
        near = 0.75 if factor == 2 else 1.0
        defines[f"F{letter}"] = factor
        defines[f"NEAR_{letter}"] = real_literal(near, SINGLE)
        defines[f"FAR_{letter}"] = real_literal(1 - near, SINGLE)
    return defines

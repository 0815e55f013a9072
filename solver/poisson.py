"""The pressure's Poisson equation: conjugate gradients with one multigrid cycle as preconditioner."""

import math

import numpy as np

from solver._occa import Kernel, Memory
from solver.device import Device
from solver.errors import SolverError
from solver.grid import Grid
from solver.kernel import shipped
from solver.multigrid import NARROW, Multigrid, sums
from solver.precision import real_type

LIMIT = 50  # iterations; 5 to 8 are usual


class Poisson:
    """∇²p = b on the cell centres of a grid, without flow of ∇p through its sides.

    The equation is solved as A p = −h²b, A = −h²∇², h the smallest spacing. The mean of b is removed, since nothing can
    balance it; p has no mean of its own and keeps that of its first guess.

    The restriction of the cycle is not the transpose of its interpolation, which saves work and iterations; the flexible
    formula for the next direction is what allows that.

    Source: Tatebe 1993, "The multigrid preconditioned conjugate gradient method", NASA CP-3224; Golub & Ye 1999,
    doi:10.1137/S1064827597323415 (flexible).

    Parameters
    ----------
    device : Device
    grid : Grid
        Two or three axes.
    dtype : {"float64", "float32"}

    Attributes
    ----------
    residual : Memory
        r = −h²b − A p, shape ``(cells,)``, on the device.
    multigrid : Multigrid
    level : Level
        The grid; h is its `unit`.
    iterations : int
        Of the last solution.

    Raises
    ------
    ParameterError
        The grid does not get coarse enough.
    """

    def __init__(self, device: Device, grid: Grid, dtype: str):
        self._device = device
        self.multigrid = Multigrid(device, grid, dtype)
        self.level = self.multigrid.levels[0]
        self.residual: Memory = device.allocate((self.size,), dtype)
        self._p = device.allocate((self.size,), dtype)
        self.epsilon = float(np.finfo(dtype).eps)
        self.iterations = 0
        self._results = device.allocate((4 * self.multigrid.groups,), "float64")
        self._defines = {
            "HOST": int(device.is_host),
            "AXES": self.level.axes,
            "GROUPS": self.multigrid.groups,
            "BLOCK": 4096 if device.is_host else 256,
            "dfloat": real_type(dtype),
        }
        self._residual, self._direction, self._curvature, self._advance, self._extrapolate = (
            self._build(name)
            for name in ("residual", "direction", "curvature", "advance", "extrapolate")
        )

    @property
    def size(self) -> int:
        """Number of cells."""
        return self.level.size

    @property
    def box(self) -> tuple[float, ...]:
        """The first arguments of kernels that apply A: points, wraps and weights."""
        return (*self.level.box, *self.level.weights)

    def solve(self, f: Memory, x: Memory, tolerance: float = 1e-8) -> None:
        """Solve A x = f from the x that is there, until the residual's norm is ``tolerance`` times that of f.

        Parameters
        ----------
        f, x : Memory
            Shape ``(cells,)``, on the device, of the given dtype.
        tolerance : float

        Raises
        ------
        SolverError
            No convergence.
        """
        self._residual(*self.box, f, x, self.residual, self._results)
        total, squares, total_f, squares_f = self._sums(4)
        target = max(
            tolerance * self.spread(total_f, squares_f), self.epsilon * math.sqrt(squares_f)
        )
        self.reduce(x, total, squares, target)

    def reduce(self, x: Memory, total: float, squares: float, target: float) -> float:
        """Improve x until the norm of `residual` without its mean is at most ``target``, and return it.

        Parameters
        ----------
        x : Memory
            Shape ``(cells,)``, on the device.
        total, squares : float
            The sums of r and r² for this x; `residual` is r and is kept up to date.
        target : float

        Raises
        ------
        SolverError
            No convergence.
        """
        norm = start = self.spread(total, squares)
        self.iterations, before, scale_before = 0, math.inf, 1.0
        while not norm <= target:
            if self.iterations == LIMIT or not math.isfinite(norm):
                raise SolverError(
                    f"the pressure must converge to a residual of {target:.3g}, got {norm:.3g} after {self.iterations} "
                    f"iterations from {start:.3g}; raise the tolerance or reduce dt"
                )
            mean, scale = total / self.size, math.sqrt(self.size) / norm
            now, mixed = self.multigrid.cycle(self.residual, mean, scale)
            product = now / scale**2
            momentum = (product - mixed / scale / scale_before) / before if self.iterations else 0.0
            self._direction(self.size, 1 / scale, momentum, self.multigrid.result, self._p)
            self._curvature(*self.box, self._p, self._results)
            curvature = self._sums(1)[0]
            length = product / curvature if curvature else math.nan
            self._advance(*self.box, length, mean, self._p, x, self.residual, self._results)
            total, squares = self._sums(2)
            norm, before, scale_before = self.spread(total, squares), product, scale
            self.iterations += 1
        return norm

    def spread(self, total: float, squares: float) -> float:
        """Return the norm of values without their mean from their sum and their sum of squares."""
        return math.sqrt(max(squares - total * total / self.size, 0.0))

    def extrapolate(self, slope: float, x: Memory, before: Memory) -> None:
        """Replace x by x + slope (x − before), and before by x: the next guess from two solutions."""
        self._extrapolate(self.size, slope, x, before)

    def _sums(self, count: int) -> list[float]:
        return sums(self._results, count, self.multigrid.groups)

    def _build(self, name: str) -> Kernel:
        kernel = self._device.build(shipped("poisson.okl"), f"poisson_{name}", self._defines)
        kernel.threads = int(self.size < NARROW)
        return kernel

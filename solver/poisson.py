"""The pressure's Poisson equation: conjugate gradients with one multigrid cycle as preconditioner."""

import math

import numpy as np

from solver._occa import Kernel, Memory
from solver.device import Device
from solver.errors import SolverError
from solver.grid import Grid
from solver.kernel import shipped
from solver.multigrid import NARROW, Multigrid
from solver.patch import Margins
from solver.precision import real_type
from solver.reduction import Reduction, group_count

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
        Two or three axes; or a rank's block of it, where all ranks make the same calls and decide alike.
    dtype : {"float64", "float32"}

    Attributes
    ----------
    residual : Memory
        r = −h²b − A p, shape ``(cells of the patch,)``, on the device.
    multigrid : Multigrid
    patch : Patch
        What this rank's arrays hold of the grid: the whole, or its block with margins.
    level : Level
        The whole grid; h is its `unit`.
    iterations : int
        Of the last solution.

    Raises
    ------
    ParameterError
        The grid does not get coarse enough, or blocks get too small before it is.
    """

    def __init__(self, device: Device, grid: Grid, dtype: str):
        self._device = device
        self.multigrid = Multigrid(device, grid, dtype)
        self.level = self.multigrid.levels[0]
        self.patch = self.multigrid.patch
        self.residual: Memory = device.allocate((self.patch.size,), dtype)
        self._p = device.allocate((self.patch.size,), dtype)
        self._margins = Margins(device, self.patch, 1, dtype)
        self.epsilon = float(np.finfo(dtype).eps)
        self.iterations = 0
        self._reduction = Reduction(device, grid, 4)
        self._defines = {
            "HOST": int(device.is_host),
            "AXES": self.level.axes,
            "GROUPS": group_count(device),
            "CUT": self.patch.is_cut,
            "BLOCK": 4096 if device.is_host else 256,
            "dfloat": real_type(dtype),
        }
        self._residual, self._direction, self._curvature, self._advance, self._extrapolate = (
            self._build(name)
            for name in ("residual", "direction", "curvature", "advance", "extrapolate")
        )
        if self.patch.is_cut:
            self._advance_margins = self._build("advance_margins")

    @property
    def size(self) -> int:
        """Number of cells of the whole grid."""
        return self.level.size

    @property
    def box(self) -> tuple[float, ...]:
        """The first arguments of kernels that apply A: the patch's and the weights."""
        return (*self.patch.box, *self.level.weights)

    def solve(self, f: Memory, x: Memory, tolerance: float = 1e-8) -> None:
        """Solve A x = f from the x that is there, until the residual's norm is ``tolerance`` times that of f.

        Parameters
        ----------
        f, x : Memory
            Shape ``(cells of the patch,)``, on the device, of the given dtype; their margins count for nothing.
        tolerance : float

        Raises
        ------
        SolverError
            No convergence.
        """
        self._margins.refresh(x)
        self._residual(*self.box, f, x, self.residual, self._reduction.memory)
        total, squares, total_f, squares_f = self._reduction.sums(4)
        target = max(
            tolerance * self.spread(total_f, squares_f), self.epsilon * math.sqrt(squares_f)
        )
        self.reduce(x, total, squares, target)

    def reduce(self, x: Memory, total: float, squares: float, target: float) -> float:
        """Improve x until the norm of `residual` without its mean is at most ``target``, and return it.

        Parameters
        ----------
        x : Memory
            Shape ``(cells of the patch,)``, with margins, on the device.
        total, squares : float
            The sums of r and r² for this x; `residual` is r, without margins, and is kept up to date.
        target : float

        Raises
        ------
        SolverError
            No convergence.
        """
        norm = start = self.spread(total, squares)
        self.iterations, before, scale_before = 0, math.inf, 1.0
        if not norm <= target:
            self._margins.refresh(self.residual)
        while not norm <= target:
            if self.iterations == LIMIT or not math.isfinite(norm):
                raise SolverError(
                    f"the pressure must converge to a residual of {target:.3g}, got {norm:.3g} after {self.iterations} "
                    f"iterations from {start:.3g}; raise the tolerance or reduce dt"
                )
            mean, scale = total / self.size, math.sqrt(self.size) / norm
            self.multigrid.cycle(self.residual, mean, scale)
            now, mixed = self.multigrid.products()
            product = now / scale**2
            momentum = (product - mixed / scale / scale_before) / before if self.iterations else 0.0
            self._direction(self._p.size, 1 / scale, momentum, self.multigrid.result, self._p)
            self._curvature(*self.box, self._p, self._reduction.memory)
            curvature = self._reduction.sums(1)[0]
            length = product / curvature if curvature else math.nan
            total, squares = self._improve(x, length, mean)
            norm, before, scale_before = self.spread(total, squares), product, scale
            self.iterations += 1
        return norm

    def refresh(self, x: Memory) -> None:
        """Bring the margins of an array from the ranks that own their cells."""
        self._margins.refresh(x)

    def spread(self, total: float, squares: float) -> float:
        """Return the norm of values without their mean from their sum and their sum of squares."""
        return math.sqrt(max(squares - total * total / self.size, 0.0))

    def extrapolate(self, slope: float, x: Memory, before: Memory) -> None:
        """Replace x by x + slope (x − before), and before by x: the next guess from two solutions."""
        self._extrapolate(x.size, slope, x, before)

    def _improve(self, x: Memory, length: float, mean: float) -> list[float]:
        """Go some length along the direction; return the sums of r and r²."""
        arguments = (*self.box, length, mean, self._p, x, self.residual)
        self._advance(*arguments, self._reduction.memory)
        if self.patch.is_cut:
            self._advance_margins(*arguments)
        return self._reduction.sums(2)

    def _build(self, name: str) -> Kernel:
        kernel = self._device.build(shipped("poisson.okl"), f"poisson_{name}", self._defines)
        kernel.threads = int(self.patch.size < NARROW)
        return kernel

"""Viscous Burgers, u_t + u·∇u = ν ∇²u + f, one component for each axis."""

from typing import Any

import numpy as np

from solver.device import Device
from solver.equations.equation import Equation, FieldValues, Parameter, ensemble, members_of
from solver.errors import ParameterError
from solver.explicit import Explicit
from solver.grid import Grid
from solver.precision import real_literal
from solver.steppers import Method

SCHEMES = ("conservative", "miniapp", "central")


class Burgers(Equation):
    """Viscous Burgers equation in one to three dimensions.

    Parameters
    ----------
    nu : float or sequence
        Viscosity ν > 0; a sequence has one number for each member of an ensemble.
    scheme : {"conservative", "miniapp", "central"}, optional
        "conservative" (default in one dimension; periodic): flux form, fourth-order energy-conserving and viscous fluxes with a
        viscosity that acts where a front is not resolved. "central" (default in more dimensions): second-order central
        differences, any sides. "miniapp" (one dimension, periodic): central differences in the operation order of the mini-app
        of the POD-LSTM study, bit-faithful with the Euler method, which is its default; on a coarse grid it gives the mini-app's
        answer, not the equation's.
    forcing : number, function or array, optional
        Source term f(x) of scheme "central": makes the field "forcing", shape ``(axes, *points)``, which may be written at any
        time.

    Raises
    ------
    ParameterError
        ν is not positive, or the scheme is unknown or takes no forcing.

    Source: LeFloch, Mercier & Rohde 2002, doi:10.1137/S003614290240069X (conservative flux); von Neumann & Richtmyer 1950,
    doi:10.1063/1.1699639 (viscosity of the jump).
    """

    def __init__(
        self, nu: Parameter, scheme: str | None = None, forcing: FieldValues | None = None
    ):
        self.nu = ensemble("nu", nu, positive=True)
        self.members = members_of(nu=self.nu)
        if scheme is not None and scheme not in SCHEMES:
            raise ParameterError(
                f"equation scheme must be one of {', '.join(SCHEMES)}, got {scheme!r}; choose one"
            )
        if forcing is not None and scheme != "central":
            raise ParameterError(
                f"equation forcing needs scheme central, got {scheme}; choose it or leave the forcing out"
            )
        self.scheme = scheme
        self._forcing = forcing
        self.method = "euler" if scheme == "miniapp" else "ssp-rk3"

    def components(self, grid: Grid) -> int:
        """Return the number of axes."""
        return len(grid.points)

    def stable_time_step(self, grid: Grid, speed: float, method: Method) -> float:
        """Return the largest stable Δt while |u| <= speed; the maximum principle grants that for speed = max|u₀|.

        "conservative" adds to the limits of `Method.largest_step` its wider eigenvalues: 1.372 speed/Δx of the flux, 16ν/3Δx² of
        the viscosity and 4v/Δx of the jump viscosity, whose v is at most 2 speed − 2ν/Δx.
        """
        dx = np.array(grid.spacing)
        low, high = float(np.min(self.nu)), float(np.max(self.nu))
        if self._scheme_on(grid) == "conservative":
            diffusion = max(16 * nu / 3 for nu in (low, high))
            diffusion = max(diffusion, 8 * speed * dx[0] - 8 * low / 3)
            wave = 1.372 * speed
            return method.largest_step(diffusion / (2 * dx[0] ** 2), wave / dx[0], wave**2 / low)
        return method.largest_step(
            float((2 * high / dx**2).sum()),
            float((speed / dx).sum()),
            len(dx) * speed**2 / low,
        )

    def discretize(
        self, device: Device, grid: Grid, method: Method, dtype: str, members: int | None = None
    ) -> Explicit:
        """Build the kernels for a grid; see `Equation.discretize`."""
        scheme = self._scheme_on(grid)
        axes = len(grid.points)
        if scheme != "central" and (axes > 1 or not all(grid.is_periodic)):
            raise ParameterError(
                f"scheme {scheme} takes one periodic axis, got {axes} axes with sides {grid.sides}; choose scheme central"
            )
        is_wide = scheme == "conservative"
        numbers = {"SEVEN": 7, "EIGHT": 8, "FIFTEEN": 15, "ONE_36TH": 1 / 36} if is_wide else {}
        defines: dict[str, Any] = {
            name: real_literal(value, dtype) for name, value in numbers.items()
        }
        return Explicit(
            device,
            grid,
            method,
            dtype,
            members,
            source="burgers.okl" if is_wide else "burgers_central.okl",
            components=axes,
            ghost=2 if is_wide else 1,
            coefficients=lambda dt: (self._fluxes if is_wide else self._differences)(grid, dt),
            fields={} if self._forcing is None else {"forcing": (axes, self._forcing)},
            defines=defines
            | {"MINIAPP": scheme == "miniapp", "HAS_FORCING": self._forcing is not None},
        )

    def _scheme_on(self, grid: Grid) -> str:
        return self.scheme or ("conservative" if len(grid.points) == 1 else "central")

    def _fluxes(self, grid: Grid, dt: float) -> dict[str, Any]:
        dx = grid.spacing[0]
        return {"ratio": dt / dx, "viscous": self.nu / (12 * dx), "threshold": 2 * self.nu / dx}

    def _differences(self, grid: Grid, dt: float) -> dict[str, Any]:
        named: dict[str, Any] = {}
        centre: Any = 0.0
        for axis, dx in enumerate(grid.spacing):
            named[f"d_{axis}"] = self.nu * dt / (dx * dx)
            named[f"c_{axis}"] = dt / (2 * dx)
            centre = centre + 2 * named[f"d_{axis}"]
        return named | {"centre": centre}

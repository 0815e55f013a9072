"""Advection-diffusion, u_t + ∇·(a u) = ∇·(D ∇u) + f, in one to three dimensions."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from solver.device import Device
from solver.equations.equation import Equation, FieldValues, Parameter, ensemble, members_of
from solver.errors import ParameterError
from solver.explicit import Explicit, evaluate_field
from solver.grid import Grid
from solver.steppers import Method


class AdvectionDiffusion(Equation):
    """Transport of a scalar, second-order central differences in flux form.

    Parameters
    ----------
    diffusivity : float or sequence
        D >= 0; a sequence has one number for each member of an ensemble.
    velocity : sequence of float
        a, one number per axis; an axis may have a sequence, one for each member.
    forcing : number, function or array, optional
        Source term f(x): makes the field "forcing", shape ``(1, *points)``, which may be written at any time.
    diffusivity_field : number, function or array, optional
        D at each point instead of ``diffusivity``: makes the field "diffusivity", shape ``(1, *points)``.
    velocity_field : number, function or array, optional
        a at each point instead of ``velocity``: makes the field "velocity", shape ``(axes, *points)``.

    Raises
    ------
    ParameterError
        A parameter outside its range, or ensembles of different sizes.
    """

    def __init__(
        self,
        diffusivity: Parameter = 0.0,
        velocity: Sequence[Parameter] = (),
        forcing: FieldValues | None = None,
        diffusivity_field: FieldValues | None = None,
        velocity_field: FieldValues | None = None,
    ):
        self.diffusivity = ensemble("diffusivity", diffusivity, least=0.0)
        self.velocity = tuple(
            ensemble(f"velocity on axis {axis}", each) for axis, each in enumerate(velocity)
        )
        self.members = members_of(
            diffusivity=self.diffusivity,
            **{f"velocity {axis}": each for axis, each in enumerate(self.velocity)},
        )
        self._fields = {
            "diffusivity": diffusivity_field,
            "velocity": velocity_field,
            "forcing": forcing,
        }

    def components(self, grid: Grid) -> int:
        """Return 1."""
        return 1

    def stable_time_step(self, grid: Grid, speed: float, method: Method) -> float:
        """Return the limit of the method for the largest D and |a|; it does not depend on the solution's size."""
        diffusivity, velocity = self._extremes(grid)
        dx = np.array(grid.spacing)
        diffusive = float((2 * diffusivity / dx**2).sum())
        advective = float((velocity / dx).sum())
        ratio = float((velocity**2).sum())
        ratio = ratio / diffusivity if diffusivity else (np.inf if ratio else 0.0)
        limit = method.largest_step(diffusive, advective, ratio)
        if limit == 0:
            raise ParameterError(
                f"advection without diffusion needs a method that is stable on the imaginary axis, got {method.name}; "
                "choose ssp-rk3 or rk4"
            )
        return limit

    def discretize(
        self, device: Device, grid: Grid, method: Method, dtype: str, members: int | None = None
    ) -> Explicit:
        """Build the kernels for a grid; see `Equation.discretize`."""
        self._require_axes(grid)
        sizes = {"diffusivity": 1, "velocity": len(grid.points), "forcing": 1}
        fields: dict[str, tuple[int, FieldValues]] = {}
        defines: dict[str, Any] = {"HALF": "0.5f" if dtype == "float32" else "0.5"}
        begin = 0
        for name, values in self._fields.items():
            defines[f"HAS_{name.upper()}"] = values is not None
            defines[name.upper()] = begin
            if values is not None:
                fields[name] = (sizes[name], values)
                begin += sizes[name]
        defines["IS_CONSTANT"] = not fields
        return Explicit(
            device,
            grid,
            method,
            dtype,
            members,
            source="advection_diffusion.okl",
            components=1,
            ghost=1,
            coefficients=lambda dt: self._coefficients(grid, dt),
            fields=fields,
            defines=defines,
        )

    def _coefficients(self, grid: Grid, dt: float) -> dict[str, Any]:
        velocity = self.velocity or (0.0,) * len(grid.points)
        has_fields = any(values is not None for values in self._fields.values())
        named: dict[str, Any] = {}
        centre: Any = 0.0
        for axis, (dx, a) in enumerate(zip(grid.spacing, velocity, strict=True)):
            d, c = self.diffusivity * dt / dx**2, a * dt / (2 * dx)
            if has_fields:
                is_field = self._fields["diffusivity"] is not None
                named[f"d_{axis}"] = dt / (2 * dx**2) if is_field else d
                named[f"c_{axis}"] = dt / (2 * dx) if self._fields["velocity"] is not None else c
            else:
                named[f"low_{axis}"], named[f"high_{axis}"] = d + c, d - c
                centre = centre + 2 * d
        return named if has_fields else named | {"centre": centre}

    def _extremes(self, grid: Grid) -> tuple[float, np.ndarray]:
        """Return the largest D and, per axis, the largest |a|."""
        self._require_axes(grid)
        axes = len(grid.points)
        diffusivity = float(np.max(self.diffusivity))
        if (field := self._fields["diffusivity"]) is not None:
            values = evaluate_field("diffusivity", field, grid, 1)
            if (values < 0).any():
                raise ParameterError(
                    f"the field diffusivity must be 0 or more, got {values.min():g}; correct it"
                )
            diffusivity = float(values.max())
        velocity = [float(np.abs(a).max()) for a in self.velocity] or [0.0] * axes
        if (field := self._fields["velocity"]) is not None:
            values = evaluate_field("velocity", field, grid, axes)
            velocity = list(np.abs(values).reshape(axes, -1).max(1))
        return diffusivity, np.array(velocity)

    def _require_axes(self, grid: Grid) -> None:
        if self.velocity and len(self.velocity) != len(grid.points):
            raise ParameterError(
                f"equation velocity must have one number for each of the {len(grid.points)} axes, got {len(self.velocity)}; "
                "match them"
            )

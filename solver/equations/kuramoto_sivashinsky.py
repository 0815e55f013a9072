"""Kuramoto–Sivashinsky, u_t + u u_x + u_xx + ν u_xxxx = 0, in one dimension."""

from typing import Any

from solver.device import Device
from solver.equations.equation import Equation, Parameter, ensemble, members_of
from solver.errors import ParameterError
from solver.explicit import Explicit
from solver.grid import Grid
from solver.precision import real_literal
from solver.steppers import METHODS, Method


class KuramotoSivashinsky(Equation):
    """Flame fronts and thin films: long waves grow, short ones decay, and u u_x between them makes chaos.

    Fourth-order differences in flux form, which conserve the sum of u to round-off; one periodic axis.

    Parameters
    ----------
    nu : float or sequence
        ν > 0 of the fourth derivative; a sequence has one number for each member of an ensemble.

    Raises
    ------
    ParameterError
        ν is not positive.

    Source: Kuramoto & Tsuzuki 1976, doi:10.1143/PTP.55.356; Sivashinsky 1977, doi:10.1016/0094-5765(77)90096-0; LeFloch,
    Mercier & Rohde 2002, doi:10.1137/S003614290240069X (flux of u²/2).
    """

    method: str = "rk4"

    def __init__(self, nu: Parameter = 1.0):
        self.nu = ensemble("nu", nu, positive=True)
        self.members = members_of(nu=self.nu)

    def components(self, grid: Grid) -> int:
        """Return 1."""
        return 1

    def stable_time_step(self, grid: Grid, speed: float, method: Method) -> float:
        """Return the largest stable Δt while |u| stays within ``speed`` or the attractor, where it is below 4/√ν.

        The eigenvalues reach to 80ν/3Δx⁴ along the negative real axis and to 1.372|u|/Δx along the imaginary one. A method
        that is not stable there gets half of ssp-rk3's step.
        """
        dx = grid.spacing[0]
        low, high = _extremes(self.nu)
        stable = method if method.imaginary else METHODS["ssp-rk3"]
        limit = stable.largest_step(
            diffusive=40 * high / (3 * dx**4),
            advective=1.372 * max(speed, 4 / low**0.5) / dx,
            ratio=0.0,
        )
        return limit if method.imaginary else limit / 2

    def discretize(
        self, device: Device, grid: Grid, method: Method, dtype: str, members: int | None = None
    ) -> Explicit:
        """Build the kernels for a grid; see `Equation.discretize`.

        Raises
        ------
        ParameterError
            Not one periodic axis, or a grid so coarse that no wave on it decays.
        """
        if len(grid.points) != 1:
            raise ParameterError(
                f"KuramotoSivashinsky takes a grid of one axis, got grid.points {grid.points}; give one"
            )
        dx, nu = grid.spacing[0], _extremes(self.nu)[0]
        if dx * dx >= 5 * nu:
            raise ParameterError(
                f"the spacing must be below sqrt(5 nu) = {(5 * nu) ** 0.5:g}, or no wave on the grid decays, got {dx:g}; refine, "
                "to half of sqrt(nu) for accuracy"
            )
        return Explicit(
            device,
            grid,
            method,
            dtype,
            members,
            source="kuramoto_sivashinsky.okl",
            components=1,
            ghost=3,
            coefficients=lambda dt: self._coefficients(dx, dt),
            defines={
                name: real_literal(value, dtype)
                for name, value in (("SEVEN", 7), ("EIGHT", 8), ("ONE_36TH", 1 / 36))
            },
        )

    def _coefficients(self, dx: float, dt: float) -> dict[str, Any]:
        second, fourth = 1 / (12 * dx), self.nu / (6 * dx**3)
        return {
            "ratio": dt / dx,
            "near": 15 * second - 28 * fourth,
            "middle": 11 * fourth - second,
            "far": -fourth,
        }


def _extremes(nu: Any) -> tuple[float, float]:
    numbers = [nu] if isinstance(nu, float) else list(nu)
    return min(numbers), max(numbers)

"""Viscous Burgers, u_t + (u²/2)_x = ν u_xx, periodic in one dimension."""

import math
from pathlib import Path
from typing import ClassVar

from solver._occa import Kernel
from solver.device import Device
from solver.errors import ParameterError
from solver.field import Field
from solver.grid import Grid
from solver.kernel import shipped
from solver.precision import real_literal, real_type
from solver.recorder import NOTHING, Recording
from solver.steppers import SSP_RK3


class Burgers:
    """Viscous Burgers equation on one periodic axis.

    Parameters
    ----------
    nu : float
        Viscosity ν > 0.
    scheme : {"conservative", "miniapp"}
        "conservative": flux form, fourth-order energy-conserving and viscous fluxes with a viscosity that acts where a
        front is not resolved, SSP-RK3; converges to the solution of the equation. "miniapp": explicit Euler and central
        differences, bit-faithful to the mini-app of the POD-LSTM study; on a coarse grid it gives the mini-app's answer,
        not the equation's.

    Raises
    ------
    ParameterError
        ν is not a positive number, or the scheme is unknown.
    """

    components: ClassVar[int] = 1

    def __init__(self, nu: float, scheme: str = "conservative"):
        if (
            isinstance(nu, bool)
            or not isinstance(nu, int | float)
            or not (math.isfinite(nu) and nu > 0)
        ):
            raise ParameterError(
                f"equation nu must be a positive number, got {nu!r}; give the viscosity in the grid's units"
            )
        if scheme not in SCHEMES:
            raise ParameterError(
                f"equation scheme must be one of {', '.join(SCHEMES)}, got {scheme!r}; choose one"
            )
        self.nu = float(nu)
        self.scheme = scheme

    @property
    def ghost(self) -> int:
        """Ghost points the stencil needs on each side."""
        return SCHEMES[self.scheme].ghost

    def stable_time_step(self, grid: Grid, speed: float) -> float:
        """Return the largest stable Δt while |u| <= speed; the maximum principle grants that for speed = max|u₀|."""
        return SCHEMES[self.scheme].stable_time_step(self.nu, grid.spacing[0], speed)

    def discretize(self, device: Device, grid: Grid, dtype: str) -> "Scheme":
        """Build the kernels for a grid.

        Raises
        ------
        ParameterError
            The grid is not one-dimensional or has fewer points than the stencil.
        """
        if len(grid.points) != 1:
            raise ParameterError(
                f"Burgers takes a grid of one axis, got grid.points {grid.points}; give one"
            )
        least = 2 * self.ghost + 1
        if grid.points[0] < least:
            raise ParameterError(
                f"grid.points must be at least {least} for scheme {self.scheme}, got {grid.points[0]}; refine"
            )
        return SCHEMES[self.scheme](device, grid, self.nu, dtype)


class Scheme:
    """A spatial scheme with its time integration on one grid.

    `step` takes one step in place. `march` takes many in one launch and records on the way; it exists where the whole state
    fits on chip (`has_march`): in the caches of a core, or in the shared memory of one GPU block.
    """

    source: ClassVar[str]
    ghost: ClassVar[int]
    _march: Kernel
    tile: ClassVar[dict[str, int]] = {"Serial": 4096, "OpenMP": 4096}
    march_limit: ClassVar[dict[str, int]] = {
        "Serial": 8192,
        "OpenMP": 8192,
        "CUDA": 1024,
        "HIP": 1024,
    }

    def __init__(self, device: Device, grid: Grid, nu: float, dtype: str):
        self._device, self._grid, self._nu, self._dtype = device, grid, nu, dtype
        points = grid.points[0]
        self._defines = {
            "dfloat": real_type(dtype),
            "POINTS": points,
            "BLOCK": self.tile.get(device.mode, 256),
            "GHOST_TRIPS": 8 if device.is_host else points,
        }
        self.has_march = points <= self.march_limit.get(device.mode, 256)
        self._unrecorded = device.allocate((0,), dtype)
        self._dt: float = math.nan
        self._scalars: tuple[float, ...] = ()

    @staticmethod
    def stable_time_step(nu: float, dx: float, speed: float) -> float:
        """Return the largest stable Δt while |u| <= speed."""
        raise NotImplementedError

    def step(self, u: Field, dt: float) -> None:
        """Take one step."""
        raise NotImplementedError

    def coefficients(self, dt: float) -> tuple[float, ...]:
        """Return the scalars the kernels take for a time step."""
        raise NotImplementedError

    def march(self, u: Field, dt: float, steps: int, recording: Recording) -> None:
        """Take ``steps`` steps in one launch, writing the snapshots of ``recording``."""
        if dt != self._dt:
            self._dt, self._scalars = dt, self.coefficients(dt)
        into = self._unrecorded if recording.into is None else recording.into
        self._march(
            steps,
            recording.due,
            recording.every,
            recording.start_row,
            recording.rows,
            *self._scalars,
            u.memory,
            into,
        )

    def _build_march(self, name: str) -> Kernel:
        """Build a kernel of one block, which OpenMP threads could only wait for."""
        kernel = self._build(name)
        kernel.threads = 1
        return kernel

    def _build(self, name: str) -> Kernel:
        return self._device.build(shipped(self.source), name, self._defines)

    def _field(self) -> Field:
        return Field(self._device, self._grid, ghost=self.ghost, dtype=self._dtype)


class MiniApp(Scheme):
    """Explicit Euler, central differences, non-conservative."""

    source = "burgers_miniapp.okl"
    ghost = 1
    lanes: ClassVar[dict[str, int]] = {"float64": 8, "float32": 16}  # one 64-byte vector

    def __init__(self, device: Device, grid: Grid, nu: float, dtype: str):
        super().__init__(device, grid, nu, dtype)
        points, lanes = grid.points[0], self.lanes[dtype]
        lanes = lanes if device.is_host and points % lanes == 0 and points >= 2 * lanes else 1
        self._defines |= {
            "LANES": lanes,
            "COLUMNS": points // lanes,
            "GHOST_TRIPS": max(lanes, 2) if device.is_host else points,
            "HAS_FMA": not device.is_host or "fma" in _processor_flags(),
            "MINUS_TWO": real_literal(-2, dtype),
        }
        if self.has_march:
            self._march = self._build_march("burgers_miniapp_march")
        else:
            self._step = self._build("burgers_miniapp_step")
            self._next = self._field()

    @staticmethod
    def stable_time_step(nu: float, dx: float, speed: float) -> float:
        """Return min(Δx²/2ν, 2ν/speed²), the von Neumann limits; Source: Hindmarsh et al. 1984, doi:10.1002/fld.1650040905."""
        return min(dx * dx / (2 * nu), 2 * nu / (speed * speed) if speed else math.inf)

    def coefficients(self, dt: float) -> tuple[float, ...]:
        """Return νΔt/Δx² and Δt/2Δx."""
        dx = self._grid.spacing[0]
        return self._nu * dt / (dx * dx), dt / (2 * dx)

    def step(self, u: Field, dt: float) -> None:
        """Take one step through a second buffer, so that u keeps its memory."""
        if self.has_march:
            self.march(u, dt, 1, NOTHING)
        else:
            self._step(*self.coefficients(dt), u.memory, self._next.memory)
            u.copy_from(self._next)


class Conservative(Scheme):
    """Energy-conserving fourth-order fluxes with a viscosity of unresolved jumps, SSP-RK3.

    Source: LeFloch, Mercier & Rohde 2002, doi:10.1137/S003614290240069X (flux); von Neumann & Richtmyer 1950,
    doi:10.1063/1.1699639 (viscosity of the jump); Shu & Osher 1988, doi:10.1016/0021-9991(88)90177-5 (time).
    """

    source = "burgers.okl"
    ghost = 2

    def __init__(self, device: Device, grid: Grid, nu: float, dtype: str):
        super().__init__(device, grid, nu, dtype)
        weights = {
            f"{letter}{n}": weight
            for n, stage in enumerate(SSP_RK3, 1)
            for letter, weight in zip("AB", stage, strict=True)
        }
        constants = {
            "ZERO": 0,
            "SEVEN": 7,
            "EIGHT": 8,
            "FIFTEEN": 15,
            "ONE_36TH": 1 / 36,
            **weights,
        }
        self._defines |= {name: real_literal(value, dtype) for name, value in constants.items()}
        if self.has_march:
            self._march = self._build_march("burgers_march")
        else:
            self._stage = self._build("burgers_stage")
            self._stages = [self._field(), self._field()]

    @staticmethod
    def stable_time_step(nu: float, dx: float, speed: float) -> float:
        """Return Δt of 1/Δt = speed/(1.262 Δx) + max(16ν/3, 8 speed Δx − 8ν/3)/(2.5127 Δx²).

        RK3 is stable up to √3 on the imaginary and 2.5127 on the real axis; the largest eigenvalues are 1.372 speed/Δx of
        the flux, 16ν/3Δx² of the viscosity and 4v/Δx of the jump viscosity, whose v is at most 2 speed − 2ν/Δx.
        """
        diffusion = max(16 * nu / 3, 8 * speed * dx - 8 * nu / 3)
        return 1 / (speed / (1.262 * dx) + diffusion / (2.5127 * dx * dx))

    def coefficients(self, dt: float) -> tuple[float, ...]:
        """Return Δt/Δx, ν/12Δx and 2ν/Δx."""
        dx = self._grid.spacing[0]
        return dt / dx, self._nu / (12 * dx), 2 * self._nu / dx

    def step(self, u: Field, dt: float) -> None:
        """Take one step of three stages; the last writes u in place."""
        if self.has_march:
            return self.march(u, dt, 1, NOTHING)
        first, second = self._stages
        for weights, source, target in zip(
            SSP_RK3, (u, first, second), (first, second, u), strict=True
        ):
            self._stage(*weights, *self.coefficients(dt), u.memory, source.memory, target.memory)
        return None


def _processor_flags() -> set[str]:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return {flag for line in lines if line.startswith("flags") for flag in line.split()}


SCHEMES: dict[str, type[Scheme]] = {"conservative": Conservative, "miniapp": MiniApp}

"""Incompressible Navier–Stokes, u_t + ∇·(u u) = −∇p + ν∇²u + f, ∇·u = 0, on a staggered grid in two or three dimensions."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from solver._occa import Kernel, Memory
from solver.boundaries import Boundary, Periodic, Slip, Wall
from solver.device import Device
from solver.equations.equation import Discretization, Equation
from solver.errors import ParameterError
from solver.field import Field
from solver.grid import Grid
from solver.initial import evaluate, named
from solver.kernel import shipped
from solver.multigrid import MARGIN, NARROW
from solver.patch import Margins
from solver.poisson import Poisson
from solver.precision import real_type
from solver.recorder import Recording
from solver.reduction import Reduction, group_count
from solver.staggered import on_faces
from solver.steppers import Method

LEAST_POINTS = 4
WORTHLESS = 2.0  # times the residual of p = 0, above which a guess is thrown away

# One number per axis, or a function of the coordinates that returns one array (or number) per axis.
Forcing = Sequence[float] | Callable[..., Any]


class NavierStokes(Equation):
    """Incompressible Navier–Stokes equations of constant density 1.

    Component a of the velocity lies on the low face of each cell along axis a: in the state, of shape ``(axes, *points)``,
    index 0 along axis a is the low wall where the axis has sides, and stays 0; the high wall is not stored. Space is second
    order, conserves momentum and, as Δt → 0, kinetic energy; time is an explicit Runge–Kutta method whose every stage is
    projected, and so keeps its order.

    Parameters
    ----------
    nu : float
        Kinematic viscosity ν > 0.
    tolerance : float
        Of the pressure: its residual relative to the divergence that it removes, in the 2-norm. Round-off of the velocity
        bounds it from below.
    forcing : optional
        An acceleration: one number per axis, or a function of the coordinates that returns one array per axis. With one,
        the discretization has the field "forcing" in memory, for others to write.

    Raises
    ------
    ParameterError
        A parameter outside its range.

    Source: Harlow & Welch 1965, doi:10.1063/1.1761178 (space); Sanderse & Koren 2012, doi:10.1016/j.jcp.2011.11.028 (time).
    """

    def __init__(self, nu: float, tolerance: float = 1e-8, forcing: Forcing | None = None):
        _require_positive("equation nu", nu, "give the viscosity in the grid's units")
        _require_positive("equation tolerance", tolerance, "1e-8 is usual")
        self.nu, self.tolerance = float(nu), float(tolerance)
        self.forcing = forcing

    def components(self, grid: Grid) -> int:
        """Return the number of velocity components, one per axis."""
        return len(grid.points)

    def evaluate(self, initial: Any, grid: Grid, members: int | None) -> np.ndarray:
        """Return initial values on the host, a function of the coordinates on the faces of each component."""
        components = self.components(grid)
        function = named(initial, grid, components) if isinstance(initial, str) else initial
        values = on_faces(grid, function) if callable(function) else function
        return evaluate(values, grid, components, members)

    def stable_time_step(self, grid: Grid, speed: float, method: Method) -> float:
        """Return the largest stable Δt while each component stays within ``speed`` and the walls' own."""
        moving = [abs(v) for pair in grid.sides for side in pair for v in _wall_velocity(side, 0)]
        speed = max([speed, *moving])
        axes = grid.spacing
        return method.largest_step(
            diffusive=sum(2 * self.nu / dx**2 for dx in axes),
            advective=sum(speed / dx for dx in axes),
            ratio=len(axes) * speed**2 / self.nu,
        )

    def discretize(
        self, device: Device, grid: Grid, method: Method, dtype: str, members: int | None = None
    ) -> "StaggeredScheme":
        """Build the kernels for a grid.

        Raises
        ------
        ParameterError
            Not two or three axes, too few points, a side that is neither periodic nor a wall, a grid or blocks of it whose
            pressure multigrid cannot solve, or an ensemble.
        """
        if members is not None:
            raise ParameterError(
                f"NavierStokes takes no ensemble, got {members} members; run them one by one"
            )
        if len(grid.points) not in (2, 3):
            raise ParameterError(
                f"NavierStokes takes a grid of two or three axes, got grid.points {grid.points}; give two or three"
            )
        if min(grid.whole.points) < LEAST_POINTS:
            raise ParameterError(
                f"grid.points must be at least {LEAST_POINTS} along each axis for NavierStokes, got {grid.whole.points}; refine"
            )
        for axis, pair in enumerate(grid.sides):
            for side in pair:
                if not isinstance(side, Periodic | Wall | Slip):
                    raise ParameterError(
                        f"a side of NavierStokes must be Periodic, Wall or Slip, got {side} on axis {axis}; choose one"
                    )
        return StaggeredScheme(device, grid, self, method, dtype)


class StaggeredScheme(Discretization):
    """Navier–Stokes on one grid, or on a rank's block of it, where all ranks make the same calls.

    Ranks that share the grid work on patches: one exchange of the velocity's margins serves as many stages as they last, and the
    pressure's residual is exchanged in each; see `Multigrid` for the rest. Nothing is computed while messages are on their way.

    Attributes
    ----------
    pressure : Memory
        Shape ``points`` of the block, at the grid's points, on the device, of the last stage's beginning and up to a constant;
        the first guess of the next. A view, contiguous where no other rank shares the grid.
    fields : dict
        "forcing", where the equation has one: the acceleration on the faces of the block, shape ``(axes, *points)``, read at the
        beginning of each `march`.
    poisson : Poisson
    iterations : list of int
        Of the pressure, in each stage of the last step.
    """

    effort = 64.0

    def __init__(
        self, device: Device, grid: Grid, equation: NavierStokes, method: Method, dtype: str
    ):
        self._device, self._grid, self._equation, self._method = device, grid, equation, method
        self.poisson = Poisson(device, grid, dtype)
        self._patch = self.poisson.patch
        axes, shape = len(grid.points), self._patch.shape
        padded = self._zeros(shape, dtype)
        self.pressure = self._patch.inside(padded)
        self._flat_pressure = padded.reshape((padded.size,))
        self._pressure_before = self._zeros((padded.size,), dtype)
        self._clock, self._times = 0.0, (0.0, 0.0)
        self._nodes = method.butcher()[0].sum(axis=1).tolist()
        self.iterations: list[int] = []
        self._margins, self._forcing_margins = (
            Margins(device, self._patch, axes, dtype) for _ in range(2)
        )
        self._layers = MARGIN  # of the velocity's margins, that are right
        self.fields = self._load_forcing(dtype)
        self._forcing: tuple[Memory, ...] = tuple(self.fields.values())
        self._sides = self._load_sides(dtype)
        self._reduction = Reduction(device, grid, 5)
        self._defines = {
            "HOST": int(device.is_host),
            "AXES": axes,
            "GROUPS": group_count(device),
            "CUT": self._patch.is_cut,
            "dfloat": real_type(dtype),
            "HAS_FORCING": bool(self.fields),
        }
        self._stage, self._residual, self._correct, self._divergence = (
            self._build(f"navier_stokes_{name}")
            for name in ("stage", "residual", "correct", "divergence")
        )
        self._axpy = device.build(shipped("axpy.okl"), "axpy", {"dfloat": real_type(dtype)})
        self._states = [
            device.allocate((axes, *shape), dtype) for _ in range(max(1, method.stages - 1))
        ]

    def step(self, u: Field, dt: float) -> None:
        """Take one step in place."""
        velocity = self._load(u)
        self._advance(velocity, dt)
        self._margins.store(velocity, u.memory)

    def march(
        self,
        u: Field,
        dt: float,
        steps: int,
        recording: Recording,
        time: float = 0.0,
        watch: Callable[[bool], bool] | None = None,
    ) -> int:
        """Take ``steps`` steps in place, writing the snapshots of ``recording``; it is not watchful."""
        row, velocity = 0, self._load(u)
        for n in range(1, steps + 1):
            self._advance(velocity, dt)
            if recording.into is not None and n == recording.due + row * recording.every:
                self._margins.store(velocity, recording.into[recording.start_row + row])
                row += row < recording.rows
        self._margins.store(velocity, u.memory)
        return steps

    def admit(self, u: Field) -> None:
        """Remove the divergence of initial values; the pressure starts anew."""
        self._forget_pressure()
        velocity = self._load(u)
        self._project(velocity, 1.0)
        self._margins.store(velocity, u.memory)
        self._forget_pressure()

    def memories(self) -> dict[str, Memory]:
        """Return the last two pressures, by which the next solve begins."""
        before = self._pressure_before.reshape(self._patch.shape)
        return {"pressure": self.pressure, "pressure_before": self._patch.inside(before)}

    def numbers(self) -> dict[str, Any]:
        """Return the times of the two pressures."""
        return {"clock": self._clock, "times": list(self._times), "iterations": self.iterations}

    def restore(self, numbers: Mapping[str, Any]) -> None:
        """Take over the times, and bring the pressures' margins; see `Discretization.restore`."""
        self._clock, self.iterations = numbers["clock"], list(numbers["iterations"])
        before, last = numbers["times"]
        self._times = (before, last)
        for pressure in (self._flat_pressure, self._pressure_before):
            self.poisson.refresh(pressure)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Put the pressures, by which the next solve begins, back at the end."""
        now = self._flat_pressure, self._pressure_before
        kept = [self._device.allocate(memory.shape, memory.dtype) for memory in now]
        for memory, copy in zip(now, kept, strict=True):
            copy.copy_from(memory)
        clock, times, iterations = self._clock, self._times, self.iterations
        try:
            yield
        finally:
            for memory, copy in zip(now, kept, strict=True):
                memory.copy_from(copy)
            self._clock, self._times, self.iterations = clock, times, iterations

    def divergence(self, u: Field) -> float:
        """Return max |∇·u| over the cells of the whole grid."""
        self._divergence(*self._box, *self._rates(1.0), self._load(u), self._reduction.memory)
        return self._reduction.largest()

    def _load(self, u: Field) -> Memory:
        """Return the velocity with margins: its own memory where no other rank shares the grid."""
        self._forcing = tuple(map(self._forcing_margins.load, self.fields.values()))
        self._layers = MARGIN
        return self._margins.load(u.memory)

    def _advance(self, u: Memory, dt: float) -> None:
        """Take one step in place; each stage is made free of divergence before the next reads it."""
        alpha, beta = self._method.alpha, self._method.beta
        states = [u, *self._states[: len(beta) - 1]]
        layers = [self._layers]
        self.iterations = []
        for i, (weights, part) in enumerate(zip(alpha, beta, strict=True)):
            target = self._states[0] if len(beta) == 1 else (*states[1:], u)[i]
            if layers[i] < 2:  # a stage reaches one cell, and the divergence of its result another
                self._margins.refresh(states[i])
                layers[i] = MARGIN
            self._predict(weights, part * dt, states[: i + 1], target)
            layers.append(min(*layers, layers[i] - 1))
            self._guess_pressure(self._clock + self._nodes[i] * dt)
            self._project(target, part * dt)
            self.iterations.append(self.poisson.iterations)
        self._clock, self._layers = self._clock + dt, layers[-1]
        if len(beta) == 1:
            u.copy_from(target)

    def _predict(
        self, weights: tuple[float, ...], step: float, states: list[Memory], target: Memory
    ) -> None:
        """Write Σⱼ weightsⱼ statesⱼ + step L(last state) to the target, L without the pressure."""
        middle = list(zip(weights, states, strict=True))[1:-1]
        start_weight = weights[0] if len(weights) > 1 else 0.0
        nu, padding = self._equation.nu, (0.0,) * (3 - len(self._grid.points))
        self._stage(
            *self._box,
            *padding,
            *(1 / (4 * dx) for dx in self._grid.spacing),
            *padding,
            *(nu / dx**2 for dx in self._grid.spacing),
            start_weight,
            weights[-1],
            step,
            self._sides,
            states[0],
            states[-1],
            *self._forcing,
            target,
        )
        for weight, state in middle:
            if weight:
                self._axpy(target.size, weight, state, target)

    def _guess_pressure(self, time: float) -> None:
        """Extrapolate the last two pressures linearly in time."""
        before, last = self._times
        slope = (time - last) / (last - before) if last != before else 0.0
        self.poisson.extrapolate(slope, self._flat_pressure, self._pressure_before)
        self._times = (last, time)

    def _forget_pressure(self) -> None:
        nothing = np.zeros(self._patch.size, self.pressure.dtype)
        self._flat_pressure.copy_from(nothing)
        self._pressure_before.copy_from(nothing)
        self._times = (self._clock, self._clock)

    def _project(self, u: Memory, step: float) -> None:
        """Solve ∇²p = ∇·u / step from a guess, and subtract step ∇p; what is not finite stays as it is."""
        total, squares, total_b, squares_b, squares_u = self._defect(u, step)
        spread = self.poisson.spread
        if not math.isfinite(squares_b):
            return
        if not spread(total, squares) <= WORTHLESS * spread(total_b, squares_b):
            self._forget_pressure()
            total, squares = self._defect(u, step)[:2]
        noise = self.poisson.epsilon * self.poisson.level.unit / step * math.sqrt(squares_u)
        target = max(self._equation.tolerance * spread(total_b, squares_b), noise)
        self.poisson.reduce(self._flat_pressure, total, squares, target)
        self._correct(*self._box, *self._rates(step), self._flat_pressure, u)

    def _defect(self, u: Memory, step: float) -> list[float]:
        """Write the residual r of b = −h² ∇·u / step for the present guess; return the sums of r, r², b, b² and |u|²."""
        self._residual(
            *self.poisson.box,
            *self._rates(self.poisson.level.unit**2 / step),
            u,
            self._flat_pressure,
            self.poisson.residual,
            self._reduction.memory,
        )
        return self._reduction.sums(5)

    def _rates(self, factor: float) -> tuple[float, ...]:
        """Return factor / Δa for each axis of the kernels."""
        padding = (0.0,) * (3 - len(self._grid.points))
        return (*padding, *(factor / dx for dx in self._grid.spacing))

    @property
    def _box(self) -> tuple[int, ...]:
        return self._patch.box

    def _load_forcing(self, dtype: str) -> dict[str, Memory]:
        given = self._equation.forcing
        if given is None:
            return {}
        values = on_faces(self._grid, given if callable(given) else lambda *_: given)
        memory = self._device.allocate(values.shape, dtype)
        memory.copy_from(values.astype(dtype))
        return {"forcing": memory}

    def _load_sides(self, dtype: str) -> Memory:
        """Return for each axis and side what stands beyond it, mirror q − offset: mirror, then an offset per component."""
        axes = len(self._grid.points)
        values = np.zeros((axes, 2, axes + 1), dtype)
        for axis, pair in enumerate(self._grid.sides):
            for number, side in enumerate(pair):
                values[axis, number, 0] = -1 if isinstance(side, Wall) else 1
                values[axis, number, 1:] = [-2 * v for v in _wall_velocity(side, axes)]
        memory = self._device.allocate((values.size,), dtype)
        memory.copy_from(values.ravel())
        return memory

    def _zeros(self, shape: tuple[int, ...], dtype: str) -> Memory:
        memory = self._device.allocate(shape, dtype)
        memory.copy_from(np.zeros(shape, dtype))
        return memory

    def _build(self, name: str) -> Kernel:
        kernel = self._device.build(shipped("navier_stokes.okl"), name, self._defines)
        kernel.threads = int(self._patch.size < NARROW)
        return kernel


def _wall_velocity(side: Boundary, axes: int) -> Sequence[float]:
    """Return the velocity of a side, one number per axis; zeros where it is none or does not move."""
    if isinstance(side, Wall) and side.velocity is not None:
        return side.velocity
    return (0.0,) * axes


def _require_positive(name: str, value: Any, remedy: str) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (is_number and math.isfinite(value) and value > 0):
        raise ParameterError(f"{name} must be a positive number, got {value!r}; {remedy}")

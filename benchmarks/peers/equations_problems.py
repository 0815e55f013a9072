"""What `equations.py` measures: four problems, their coefficients and a NumPy reference.

All are float64, periodic, explicit Euler, central differences. Each has ``shape``, ``steps`` and ``initial()``.
"""

from dataclasses import dataclass

import numpy as np

LENGTH = 2 * np.pi


def waves(points, phase=0.0):
    """Return 1 + a smooth wave along every axis."""
    axes = np.meshgrid(
        *(np.arange(n) * (LENGTH / n) for n in points), indexing="ij", sparse=True, copy=False
    )
    return 1.0 + sum(np.sin(x + phase) for x in axes) / (2 * len(points))


def moved(values, step, axis):
    return np.roll(values, -step, axis)


@dataclass(frozen=True)
class Burgers1D:
    """u_i += rd ((u_{i+1} + u_{i-1}) - 2 u_i) - ra (u_{i+1} - u_{i-1}) u_i."""

    name = "burgers_1d"
    points: tuple = (1 << 24,)
    steps: int = 50

    @property
    def shape(self):
        return self.points

    @property
    def extent(self):
        return ((0.0, LENGTH),)

    @property
    def spacing(self):
        return LENGTH / self.points[0]

    @property
    def dt(self):
        return 0.1 * self.spacing

    @property
    def nu(self):
        return 2 * self.spacing

    @property
    def rd(self):
        return self.nu * self.dt / self.spacing**2

    @property
    def ra(self):
        return self.dt / (2 * self.spacing)

    def initial(self):
        return waves(self.points)

    def step(self, u):
        up, um = moved(u, 1, 0), moved(u, -1, 0)
        return u + self.rd * ((up + um) - 2 * u) - self.ra * (up - um) * u


@dataclass(frozen=True)
class Burgers2D:
    """c += dx (c_e - 2c + c_w) + dy (c_n - 2c + c_s) - ax u (c_e - c_w) - ay v (c_n - c_s) for c = u, v."""

    name = "burgers_2d"
    points: tuple = (2048, 2048)
    steps: int = 50

    @property
    def shape(self):
        return (2, *self.points)

    @property
    def extent(self):
        return ((0.0, LENGTH), (0.0, 1.25 * LENGTH))

    @property
    def spacing(self):
        return tuple((b - a) / n for (a, b), n in zip(self.extent, self.points, strict=True))

    @property
    def dt(self):
        return 0.1 * self.spacing[0]

    @property
    def nu(self):
        return self.spacing[0]

    @property
    def coefficients(self):
        hy, hx = self.spacing
        diffusion = self.nu * self.dt
        return diffusion / hx**2, diffusion / hy**2, self.dt / (2 * hx), self.dt / (2 * hy)

    def initial(self):
        return np.stack([waves(self.points), waves(self.points, 1.0)])

    def step(self, c):
        dx, dy, ax, ay = self.coefficients
        e, w, n, s = moved(c, 1, 2), moved(c, -1, 2), moved(c, 1, 1), moved(c, -1, 1)
        diffusion = dx * (e - 2 * c + w) + dy * (n - 2 * c + s)
        return c + diffusion - ax * c[0] * (e - w) - ay * c[1] * (n - s)


@dataclass(frozen=True)
class AdvectionDiffusion3D:
    """c += sum over the axes of plus (c_{+1} - c) + minus (c_{-1} - c)."""

    name = "advection_diffusion_3d"
    points: tuple = (256, 256, 256)
    steps: int = 50
    velocity: tuple = (1.0, 0.7, 0.4)

    @property
    def shape(self):
        return self.points

    @property
    def extent(self):
        return ((0.0, LENGTH),) * 3

    @property
    def spacing(self):
        return tuple(LENGTH / n for n in self.points)

    @property
    def dt(self):
        return 0.1 * min(self.spacing)

    @property
    def diffusivity(self):
        return min(self.spacing)

    @property
    def plus(self):
        return self._along(-1)

    @property
    def minus(self):
        return self._along(+1)

    def _along(self, sign):
        return tuple(
            self.dt * (self.diffusivity / h**2 + sign * a / (2 * h))
            for h, a in zip(self.spacing, self.velocity, strict=True)
        )

    def initial(self):
        return waves(self.points)

    def step(self, c):
        out = c * (1 - sum(self.plus) - sum(self.minus))
        for axis, (plus, minus) in enumerate(zip(self.plus, self.minus, strict=True)):
            out += plus * moved(c, 1, axis) + minus * moved(c, -1, axis)
        return out


@dataclass(frozen=True)
class Ensemble1D:
    """Burgers1D for many members, (member, point), each with its own viscosity."""

    name = "ensemble_1d"
    members: int = 1024
    points: tuple = (256,)
    steps: int = 2000

    @property
    def shape(self):
        return (self.members, *self.points)

    @property
    def extent(self):
        return ((0.0, LENGTH),)

    @property
    def spacing(self):
        return LENGTH / self.points[0]

    @property
    def dt(self):
        return 0.1 * self.spacing

    @property
    def nu(self):
        return np.linspace(1.0, 3.0, self.members) * self.spacing

    @property
    def rd(self):
        return self.nu * self.dt / self.spacing**2

    @property
    def ra(self):
        return self.dt / (2 * self.spacing)

    def initial(self):
        return np.stack([waves(self.points, 0.1 * m) for m in range(self.members)])

    def step(self, u):
        up, um = moved(u, 1, 1), moved(u, -1, 1)
        return u + self.rd[:, None] * ((up + um) - 2 * u) - self.ra * (up - um) * u


PROBLEMS = {kind.name: kind for kind in (Burgers1D, Burgers2D, AdvectionDiffusion3D, Ensemble1D)}


def reference(problem, steps):
    state = problem.initial()
    for _ in range(steps):
        state = problem.step(state)
    return state

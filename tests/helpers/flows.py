"""Incompressible flows for the tests: how one is set up, and exact ones."""

import numpy as np

from solver import Field, Grid, NavierStokes, Periodic, on_faces
from solver.steppers import method_of

LENGTH = 2 * np.pi
PERIODIC = (Periodic(), Periodic())


class Flow:
    """A velocity on a grid, freed of its divergence, with the scheme that advances it."""

    def __init__(
        self,
        device,
        points,
        initial,
        nu,
        sides=None,
        extent=None,
        method="ssp-rk3",
        dtype="float64",
        **options,
    ):
        axes = len(points)
        self.grid = Grid(points, extent or ((0.0, LENGTH),) * axes, sides or (PERIODIC,) * axes)
        self.equation, self.method = NavierStokes(nu, **options), method_of(method)
        self.scheme = self.equation.discretize(device, self.grid, self.method, dtype)
        self.u = Field(device, self.grid, self.equation.components(self.grid), 0, dtype)
        self.u.set(on_faces(self.grid, initial) if callable(initial) else initial)
        self.scheme.admit(self.u)

    def advance(self, until, steps=None, speed=1.0, safety=0.5):
        limit = self.equation.stable_time_step(self.grid, speed, self.method)
        steps = steps or int(np.ceil(until / (safety * limit)))
        for _ in range(steps):
            self.scheme.step(self.u, until / steps)
        return self

    @property
    def values(self):
        return self.u.to_host().astype(np.float64)

    def error(self, exact):
        difference = self.values - on_faces(self.grid, exact)
        return np.sqrt((difference**2).mean())


def taylor_green(nu, time, shift=(0.0, 0.0)):
    decay = np.exp(-2 * nu * time)

    def velocity(x, y):
        x, y = x - shift[0], y - shift[1]
        return -np.cos(x) * np.sin(y) * decay, np.sin(x) * np.cos(y) * decay

    return velocity


def beltrami(nu, time, a=1.0, b=0.7, c=0.4):
    """Arnold–Beltrami–Childress: ∇×u = u, so that u·∇u is a gradient and only viscosity acts."""
    decay = np.exp(-nu * time)

    def velocity(x, y, z):
        return (
            (a * np.sin(z) + c * np.cos(y)) * decay,
            (b * np.sin(x) + a * np.cos(z)) * decay,
            (c * np.sin(y) + b * np.cos(x)) * decay,
        )

    return velocity


def order(points, errors):
    """Return the observed order by least squares."""
    return -np.polyfit(np.log(points), np.log(errors), 1)[0]

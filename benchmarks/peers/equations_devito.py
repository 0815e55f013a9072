"""The Devito peer of `equations.py`: OpenMP, gcc, blocking autotuned in the first run.

A grid with one more point at each end of every axis; equations of their own wrap the ends around after each step. The two
components of burgers_2d are two functions. Ensembles have a second axis without derivatives.
"""

import os

os.environ.setdefault("DEVITO_LOGGING", "ERROR")
os.environ.setdefault("DEVITO_ARCH", "gcc")

import devito
import numpy as np
from devito import Eq, Function, Grid, Operator, TimeFunction

VERSION = devito.__version__


def contenders(problem):
    """Return name → object with ``run(steps)`` and ``result()``."""
    return {"Devito": Stepper(problem)}


class Stepper:
    def __init__(self, problem):
        leading = len(problem.shape) - len(problem.points)
        is_ensemble = problem.name == "ensemble_1d"
        values = problem.initial()
        self._parts = values if leading and not is_ensemble else values[None]
        self._axes = range(1 if is_ensemble else 0, self._parts[0].ndim)
        padding = [(int(k in self._axes),) * 2 for k in range(self._parts[0].ndim)]
        padded = [np.pad(part, padding, mode="wrap") for part in self._parts]
        grid = Grid(shape=padded[0].shape, dtype=np.float64)
        self._fields = [
            TimeFunction(name=f"c{k}", grid=grid, time_order=1, space_order=2)
            for k in range(len(padded))
        ]
        for field, part in zip(self._fields, padded, strict=True):
            field.data[0] = part
        self._inner = tuple(
            slice(1, -1) if k in self._axes else slice(None) for k in range(grid.dim)
        )
        equations = self._steps(problem, grid) + self._wraps(grid)
        self._operator = Operator(equations, language="openmp", opt="advanced")
        self._taken, self._tuned = 0, None

    def _steps(self, problem, grid):
        axes = [grid.dimensions[k] for k in self._axes]

        def at(field, axis, offset):
            return field.subs({axes[axis]: axes[axis] + offset * axes[axis].spacing})

        domain = grid.interior if len(axes) == grid.dim else None
        updates = UPDATES[problem.name](problem, self._fields, at, grid)
        targets = zip(self._fields, updates, strict=True)
        return [Eq(field.forward, update, subdomain=domain) for field, update in targets]

    def _wraps(self, grid):
        time, equations = grid.stepping_dim, []
        for field in self._fields:
            for k in self._axes:
                last = grid.shape[k] - 1

                def index(value, k=k):
                    return (
                        time + 1,
                        *(value if d == k else x for d, x in enumerate(grid.dimensions)),
                    )

                equations += [
                    Eq(field[index(0)], field[index(last - 1)]),
                    Eq(field[index(last)], field[index(1)]),
                ]
        return equations

    def run(self, steps):
        bounds = {"time_m": self._taken, "time_M": self._taken + steps - 1}
        if self._tuned is None:
            self._operator.apply(**bounds, autotune="aggressive")
            trials = self._operator._state.get("autotuning", [{}])
            self._tuned = trials[-1].get("tuned", {})
        else:
            self._operator.apply(**bounds, **self._tuned)
        self._taken = (self._taken + steps) % 2

    def result(self):
        parts = [np.array(field.data[self._taken])[self._inner] for field in self._fields]
        return np.stack(parts) if len(parts) > 1 else parts[0]


def burgers(p, field, rd, at):
    um, c, up = at(field, 0, -1), field, at(field, 0, 1)
    return c + rd * ((up + um) - 2 * c) - p.ra * (up - um) * c


def burgers_1d(p, fields, at, grid):
    return [burgers(p, fields[0], p.rd, at)]


def ensemble_1d(p, fields, at, grid):
    rd = Function(name="rd", grid=grid, dimensions=(grid.dimensions[0],), shape=(grid.shape[0],))
    rd.data[:] = p.rd
    return [burgers(p, fields[0], rd, at)]


def burgers_2d(p, fields, at, grid):
    dx, dy, ax, ay = p.coefficients
    x, y = ax * fields[0], ay * fields[1]
    return [
        at(c, 1, 1) * (dx - x)
        + at(c, 1, -1) * (dx + x)
        + at(c, 0, 1) * (dy - y)
        + at(c, 0, -1) * (dy + y)
        + (1 - 2 * dx - 2 * dy) * c
        for c in fields
    ]


def advection_diffusion_3d(p, fields, at, grid):
    c = fields[0]
    return [
        (1 - sum(p.plus) - sum(p.minus)) * c
        + sum(p.plus[k] * at(c, k, 1) + p.minus[k] * at(c, k, -1) for k in range(3))
    ]


UPDATES = {
    make.__name__: make for make in (burgers_1d, burgers_2d, advection_diffusion_3d, ensemble_1d)
}

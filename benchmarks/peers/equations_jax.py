"""The JAX peers of `equations.py`: one jitted fori_loop over the steps with a donated state.

"roll" writes the periodic neighbours with jnp.roll, "padded" with slices of a state that carries its ghost points.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)
VERSION = jax.__version__


def contenders(problem):
    """Return name → object with ``run(steps)`` and ``result()``."""
    update = UPDATES[problem.name](problem)
    return {
        "JAX, roll": Rolled(problem, update),
        "JAX, padded": Padded(problem, update),
    }


class Rolled:
    def __init__(self, problem, update):
        self._state = jax.device_put(problem.initial())
        leading = len(problem.shape) - len(problem.points)

        def step(_, state):
            def at(*offsets):
                axes = tuple(range(leading, leading + len(offsets)))
                return jnp.roll(state, tuple(-o for o in offsets), axes)

            return update(at)

        @partial(jax.jit, donate_argnums=0)
        def march(state, steps):
            return jax.lax.fori_loop(0, steps, step, state)

        self._march = march

    def run(self, steps):
        self._state = self._march(self._state, steps).block_until_ready()

    def result(self):
        return np.asarray(self._state)


class Padded:
    def __init__(self, problem, update):
        self._state = jax.device_put(problem.initial())
        points = problem.points
        leading = len(problem.shape) - len(points)
        padding = [(0, 0)] * leading + [(1, 1)] * len(points)

        def step(_, state):
            padded = jnp.pad(state, padding, mode="wrap")

            def at(*offsets):
                window = tuple(
                    slice(1 + o, 1 + o + n) for o, n in zip(offsets, points, strict=True)
                )
                return padded[(slice(None),) * leading + window]

            return update(at)

        @partial(jax.jit, donate_argnums=0)
        def march(state, steps):
            return jax.lax.fori_loop(0, steps, step, state)

        self._march = march

    run, result = Rolled.run, Rolled.result


def burgers(p, rd):
    def update(at):
        um, c, up = at(-1), at(0), at(1)
        return c + rd * ((up + um) - 2 * c) - p.ra * (up - um) * c

    return update


def burgers_2d(p):
    dx, dy, ax, ay = p.coefficients

    def update(at):
        c = at(0, 0)
        x, y = ax * c[0], ay * c[1]
        return (
            at(0, 1) * (dx - x)
            + at(0, -1) * (dx + x)
            + at(1, 0) * (dy - y)
            + at(-1, 0) * (dy + y)
            + (1 - 2 * dx - 2 * dy) * c
        )

    return update


def advection_diffusion_3d(p):
    def update(at):
        new = (1 - sum(p.plus) - sum(p.minus)) * at(0, 0, 0)
        for axis, (plus, minus) in enumerate(zip(p.plus, p.minus, strict=True)):
            unit = [int(k == axis) for k in range(3)]
            new += plus * at(*unit) + minus * at(*(-u for u in unit))
        return new

    return update


UPDATES = {
    "burgers_1d": lambda p: burgers(p, p.rd),
    "burgers_2d": burgers_2d,
    "advection_diffusion_3d": advection_diffusion_3d,
    "ensemble_1d": lambda p: burgers(p, p.rd[:, None]),
}

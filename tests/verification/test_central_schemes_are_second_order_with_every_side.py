"""Central differences are of second order in one to three dimensions, with every kind of side, with fields and forcing.

Euler's method at a fixed fraction of its limit: Δt ~ Δx², so that its own first order shows as second.
"""

import numpy as np
import pytest
from helpers.orders import observed_order, rms

from solver import (
    AdvectionDiffusion,
    Burgers,
    Device,
    Dirichlet,
    Grid,
    Neumann,
    Periodic,
    Simulation,
)

POINTS = {1: (16,), 2: (12, 16), 3: (12, 10, 14)}
FINER = {1: (1, 2, 4), 2: (1, 1.5, 2.5), 3: (1, 1.5, 2.5)}
EXTENT = ((0.0, 1.0), (0.2, 1.4), (-0.3, 0.6))
UNTIL = 0.05
D, NU = 0.2, 0.2
VELOCITY = (0.7, -0.5, 0.4)
WAVES = (2.0, 1.5, 2.5)
PERIODIC = (Periodic(), Periodic())


def order_of(axes, make, exact, kinds=None):
    """Solve on three grids and return the observed order of the error at UNTIL, and the last solution's relative error."""
    widths, errors, count = [], [], 0
    for factor in FINER[axes]:
        points = tuple(round(n * factor) for n in POINTS[axes])
        sides = None if kinds is None else sides_of(exact, kinds[:axes])
        grid = Grid(points, EXTENT[:axes], sides)
        simulation = Simulation(
            Device.open("Serial"),
            grid,
            make(grid),
            lambda *x: exact(*x, 0.0),
            method="euler",
        )
        count = count or 4 * int(UNTIL / simulation.limit / 4 + 1)
        steps = round(count * factor**2)
        simulation.take(UNTIL / steps, steps)
        truth = exact(*grid.coordinates(), UNTIL)
        widths.append(1 / factor)
        errors.append(rms(simulation.u.to_host() - truth) / rms(truth))
    return observed_order(widths, errors), errors


def sides_of(exact, kinds):
    """Return boundaries that hold for the exact solution: D values, N slopes, P periodic; two letters an axis."""
    pairs = []
    for axis, kind in enumerate(kinds):
        if kind == "PP":
            pairs.append(PERIODIC)
            continue
        pairs.append(
            tuple(
                side_of(exact, axis, sign, each) for sign, each in zip((-1, 1), kind, strict=True)
            )
        )
    return tuple(pairs)


def side_of(exact, axis, sign, kind):
    if kind == "D":
        return Dirichlet(exact)

    def slope(*arguments):
        h = 1e-5
        after, before = list(arguments), list(arguments)
        after[axis], before[axis] = arguments[axis] + h, arguments[axis] - h
        return sign * (exact(*after) - exact(*before)) / (2 * h)

    return Neumann(slope)


def wave(*arguments):
    """A travelling, decaying wave: exact for constant D and velocity."""
    *x, t = arguments
    phases = [k * (each - a * t) for k, each, a in zip(WAVES, x, VELOCITY, strict=False)]
    decay = np.exp(-D * t * sum(k**2 for k, _ in zip(WAVES, x, strict=False)))
    return (decay * np.prod([np.sin(p + 0.4) for p in np.broadcast_arrays(*phases)], 0))[None]


def front(*arguments):
    """Burgers' travelling front by Cole and Hopf, u = -2ν grad log(1 + exp(k·x + ν|k|²t)), in a moving frame."""
    *x, t = arguments
    drift, k = (0.3, -0.2, 0.1)[: len(x)], (5.0, -3.0, 4.0)[: len(x)]
    phase = sum(a * (each - s * t) for a, each, s in zip(k, x, drift, strict=True))
    e = 1 / (1 + np.exp(-(phase - 1 + NU * sum(a * a for a in k) * t)))
    return np.stack([s - 2 * NU * a * e for a, s in zip(k, drift, strict=True)])


SIDES = {"values": ("DD",) * 3, "slopes": ("NN",) * 3, "mixed": ("DN", "ND", "DN")}


@pytest.mark.parametrize("axes", POINTS)
@pytest.mark.parametrize("sides", ["values", "slopes"])
def test_advection_diffusion_with_sides_that_depend_on_space_and_time(axes, sides):
    order, errors = order_of(
        axes, lambda grid: AdvectionDiffusion(D, VELOCITY[:axes]), wave, SIDES[sides]
    )
    assert 1.9 <= order < 2.6 and errors[-1] < 0.01, f"order {order:.2f}, errors {errors}"


@pytest.mark.parametrize("axes", POINTS)
def test_burgers_front_through_mixed_sides_that_depend_on_time(axes):
    order, errors = order_of(axes, lambda grid: Burgers(NU, "central"), front, SIDES["mixed"])
    assert 1.9 <= order < 2.6 and errors[-1] < 0.01, f"order {order:.2f}, errors {errors}"


def manufactured(axes, kinds):
    """Return solution, diffusivity and velocity, smooth on the box, periodic along the axes that are; (components, ...)."""

    def angles(x):
        return [
            2 * np.pi * (each - low) / (high - low) if kind == "PP" else 2 * each
            for each, (low, high), kind in zip(x, EXTENT, kinds, strict=False)
        ]

    def u(*x):
        sines = [
            np.prod(np.broadcast_arrays(*(np.sin(a + n + m) for m, a in enumerate(angles(x)))), 0)
            for n in range(axes)
        ]
        return 0.5 + 0.5 * np.stack(sines)

    def diffusivity(*x):
        cosines = np.broadcast_arrays(*(np.cos(a + 1) for a in angles(x)))
        return D * (1 + 0.5 * np.prod(cosines, 0))[None]

    def velocity(*x):
        first = 0.5 * np.sin(angles(x)[0])
        cosines = [np.cos(a + m) + first for m, a in enumerate(angles(x))]
        return np.stack(np.broadcast_arrays(*cosines))

    return u, diffusivity, velocity


def derivative(function, axis, h=1e-3):
    """Return the derivative along an axis, to about 1e-11."""

    def moved(x, distance):
        return function(*(each + distance * (n == axis) for n, each in enumerate(x)))

    return lambda *x: (
        (8 * (moved(x, h) - moved(x, -h)) - (moved(x, 2 * h) - moved(x, -2 * h))) / (12 * h)
    )


def steady(function):
    """Return a function that also takes the time."""
    return lambda *arguments: function(*arguments[:-1])


MIXED = ("DN", "PP", "ND")


@pytest.mark.parametrize("axes", POINTS)
@pytest.mark.parametrize("kinds", [("PP",) * 3, MIXED], ids=["periodic", "mixed"])
def test_variable_diffusivity_velocity_and_forcing(axes, kinds):
    u, diffusivity, velocity = manufactured(axes, kinds)

    def solution(*x):
        return u(*x)[:1]

    def flux(axis):
        slope = derivative(solution, axis)
        return lambda *x: velocity(*x)[axis : axis + 1] * solution(*x) - diffusivity(*x) * slope(*x)

    fields = {
        "diffusivity_field": diffusivity,
        "velocity_field": velocity,
        "forcing": lambda *x: sum(derivative(flux(axis), axis)(*x) for axis in range(axes)),
    }
    order, errors = order_of(
        axes, lambda grid: AdvectionDiffusion(**fields), steady(solution), kinds
    )
    assert 1.9 <= order < 2.6 and errors[-1] < 0.05, f"order {order:.2f}, errors {errors}"


@pytest.mark.parametrize("axes", POINTS)
def test_forced_burgers_on_a_periodic_grid(axes):
    kinds = ("PP",) * 3
    u, _, _ = manufactured(axes, kinds)

    def forcing(*x):
        slopes = [derivative(u, axis) for axis in range(axes)]
        return sum(
            u(*x)[axis] * slope(*x) - NU * derivative(slope, axis)(*x)
            for axis, slope in enumerate(slopes)
        )

    order, errors = order_of(
        axes, lambda grid: Burgers(NU, "central", forcing=forcing), steady(u), kinds
    )
    assert 1.9 <= order < 2.6 and errors[-1] < 0.05, f"order {order:.2f}, errors {errors}"

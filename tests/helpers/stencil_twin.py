"""NumPy twins of the central schemes and the Runge-Kutta methods, for any number of axes, sides and fields.

They write the formulas as textbooks do, and so agree with the kernels to round-off.
"""

import numpy as np

from solver import Dirichlet, Neumann, Wall
from solver.steppers import METHODS


def neighbours(u, axis, grid, is_field=False):
    """Return (before, next) along a grid's axis of an array of shape (components, *points)."""
    low, high = grid.sides[axis]
    if grid.is_periodic[axis]:
        return np.roll(u, 1, axis + 1), np.roll(u, -1, axis + 1)
    dx = grid.spacing[axis]
    first, last = np.take(u, [0], axis + 1), np.take(u, [-1], axis + 1)
    if is_field:
        first = 2 * first - np.take(u, [1], axis + 1)
        last = 2 * last - np.take(u, [-2], axis + 1)
    else:
        first, last = ghost(first, low, dx), ghost(last, high, dx)
    n = u.shape[axis + 1]
    padded = np.concatenate([first, u, last], axis + 1)
    return np.take(padded, range(n), axis + 1), np.take(padded, range(2, n + 2), axis + 1)


def ghost(inside, side, dx):
    """Return the values half a spacing beyond a side."""

    def numbers(value):
        value = np.atleast_1d(np.asarray(value, float))
        return value.reshape(-1, *(1,) * (inside.ndim - 1))

    if isinstance(side, Dirichlet):
        return 2 * numbers(side.value) - inside
    if isinstance(side, Neumann):
        return inside + dx * numbers(side.slope)
    assert isinstance(side, Wall)
    return 2 * numbers(0.0 if side.velocity is None else side.velocity) - inside


def advection_diffusion(
    grid, diffusivity=0.0, velocity=None, forcing=0.0, diffusivity_field=None, velocity_field=None
):
    """Return the right-hand side of u_t + div(a u) = div(D grad u) + f in flux form."""

    def rate(u):
        total = np.zeros_like(u) + forcing
        for axis, dx in enumerate(grid.spacing):
            before, after = neighbours(u, axis, grid)
            d = np.full_like(u, diffusivity)
            if diffusivity_field is not None:
                d = np.broadcast_to(diffusivity_field, u.shape)
            a = np.full_like(u, velocity[axis] if velocity else 0.0)
            if velocity_field is not None:
                a = np.broadcast_to(velocity_field[axis], u.shape)
            d_before, d_after = neighbours(d, axis, grid, True)
            a_before, a_after = neighbours(a, axis, grid, True)
            out = (d_after + d) / 2 * (after - u) / dx - (a_after + a) / 2 * (after + u) / 2
            into = (d + d_before) / 2 * (u - before) / dx - (a_before + a) / 2 * (before + u) / 2
            total += (out - into) / dx
        return total

    return rate


def burgers(grid, nu, forcing=0.0):
    """Return the right-hand side of u_t + u.grad u = nu laplace u + f."""

    def rate(u):
        total = np.zeros_like(u) + forcing
        for axis, dx in enumerate(grid.spacing):
            before, after = neighbours(u, axis, grid)
            total += nu * (after - 2 * u + before) / dx**2
            total -= u[axis] * (after - before) / (2 * dx)
        return total

    return rate


def march(rate, u, dt, steps, method):
    """Advance u by the method's Butcher tableau."""
    matrix, weights = METHODS[method].butcher()
    for _ in range(steps):
        slopes = []
        for row in matrix:
            slopes.append(
                rate(u + dt * sum((a * k for a, k in zip(row, slopes, strict=False)), 0.0))
            )
        u = u + dt * sum(b * k for b, k in zip(weights, slopes, strict=True))
    return u

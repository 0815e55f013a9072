"""Each Runge-Kutta method multiplies a wave by its stability polynomial, to round-off, and converges at its order."""

import numpy as np
import pytest
from helpers import stencil_twin as twin
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
from solver.steppers import METHODS

POINTS = {1: (48,), 2: (12, 15), 3: (6, 7, 8)}
EXTENT = ((0.0, 2.0), (-1.0, 0.5), (0.0, 1.0))
DIFFUSIVITY = np.array([0.02, 0.03])
VELOCITY = ((0.3, -0.4), (0.2, 0.1), (-0.5, 0.6))  # axis, member


def amplification(grid, method, dt, member):
    """Return the factor of each Fourier mode in a step: the method's polynomial of dt times the scheme's eigenvalues."""
    angles = np.meshgrid(*(2 * np.pi * np.fft.fftfreq(n) for n in grid.points), indexing="ij")
    z = sum(
        dt * (-2 * DIFFUSIVITY[member] * (1 - np.cos(angle)) / dx**2)
        - dt * 1j * a[member] * np.sin(angle) / dx
        for angle, dx, a in zip(angles, grid.spacing, VELOCITY, strict=False)
    )
    matrix, weights = METHODS[method].butcher()
    slopes = []
    for row in matrix:
        slopes.append(z * (1 + sum(a * k for a, k in zip(row, slopes, strict=False))))
    return 1 + sum(b * k for b, k in zip(weights, slopes, strict=True))


@pytest.mark.parametrize("axes", POINTS)
@pytest.mark.parametrize("method", METHODS)
def test_every_fourier_mode_is_multiplied_by_the_stability_polynomial(axes, method):
    grid = Grid(POINTS[axes], EXTENT[:axes])
    equation = AdvectionDiffusion(DIFFUSIVITY, VELOCITY[:axes])
    start = np.random.default_rng(0).standard_normal((2, 1, *grid.points))
    simulation = Simulation(Device.open("Serial"), grid, equation, start, method=method)
    simulation.take(simulation.limit, 60)
    over = tuple(range(1, axes + 1))
    for member in range(2):
        factor = amplification(grid, method, simulation.limit, member)
        assert np.abs(factor).max() < 1 + 1e-12
        expected = factor**60 * np.fft.fftn(start[member], axes=over)
        got = np.fft.fftn(simulation.u.member(member).to_host(), axes=over)
        assert np.abs(got - expected).max() < 1e-12 * np.abs(np.fft.fftn(start[member])).max()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("axes", [1, 2])
def test_observed_order_against_the_exact_solution_in_time(axes, method):
    """Forced Burgers, whose semi-discrete solution a NumPy twin gives with steps a hundred times shorter."""
    sides = ((Dirichlet(0.2), Neumann(-0.1)), (Periodic(), Periodic()))[:axes]
    grid = Grid(((24,), (12, 10))[axes - 1], ((0.0, 1.0),) * axes, sides)
    x = grid.coordinates()
    start = np.stack([0.2 + 0.8 * np.sin(2 * np.pi * sum(x) + n) ** 2 for n in range(axes)])
    forcing = np.stack([1 + np.cos(2 * np.pi * x[-1] + n) for n in range(axes)])
    until, nu = 0.1, 0.02
    truth = twin.march(twin.burgers(grid, nu, forcing), start, until / 2000, 2000, "rk4")
    counts = np.array([8, 12, 18, 27])
    errors = []
    for count in counts:
        simulation = Simulation(
            Device.open("Serial"),
            grid,
            Burgers(nu, "central", forcing=forcing),
            start,
            method=method,
        )
        simulation.take(until / count, int(count))
        errors.append(rms(simulation.u.to_host() - truth))
    order = observed_order(1 / counts, errors)
    expected = METHODS[method].order
    assert expected - 0.15 < order < expected + 0.4, f"order {order:.2f}, errors {errors}"


def test_sides_that_depend_on_time_are_second_order_in_time():
    """Their values are those of the middle of each step, whatever the method."""
    sides = ((Dirichlet(lambda x, t: np.sin(9 * t)), Neumann(lambda x, t: np.cos(7 * t))),)
    grid = Grid((24,), ((0.0, 1.0),), sides)
    counts = np.array([80, 160, 320, 640])
    states = []
    for count in counts:
        simulation = Simulation(
            Device.open("Serial"), grid, AdvectionDiffusion(0.5, (0.3,)), np.zeros(24), method="rk4"
        )
        simulation.take(0.1 / count, int(count))
        states.append(simulation.u.to_host())
    differences = [rms(fine - coarse) for coarse, fine in zip(states, states[1:], strict=False)]
    order = observed_order(1 / counts[:-1], differences)
    assert 1.9 <= order < 2.4, f"order {order:.2f}, differences {differences}"

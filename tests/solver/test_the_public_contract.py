"""The lines of the public contract, as a user would type them."""

import math

import numpy as np
import pytest

import insitu
import solver


def test_a_kernel_by_its_shipped_name(device):
    a = device.allocate((100,), "float64")
    b = device.allocate((100,), "float64")
    a.copy_from(np.arange(100.0))
    b.copy_from(np.ones(100))
    kernel = device.build("axpy.okl", "axpy", defines={"BLOCK": 256})
    kernel(100, 2.0, a, b)
    device.finish()
    assert np.array_equal(b.to_host(), 1 + 2 * np.arange(100.0))


def test_a_float_kernel_by_a_define(device):
    a = device.allocate((4,), "float32")
    a.copy_from(np.ones(4, np.float32))
    kernel = device.build("axpy.okl", "axpy", defines={"dfloat": "float"})
    kernel(4, 1.5, a, a)
    device.finish()
    assert np.array_equal(a.to_host(), np.full(4, 2.5, np.float32))


def test_a_simulation_in_three_lines(host_device):
    grid = solver.Grid(points=(512,), extent=((0.0, 2 * math.pi),))
    simulation = solver.Simulation(
        host_device, grid, solver.Burgers(nu=0.01), initial=lambda x: np.sin(x)
    )
    simulation.advance(until=1.0)
    view = insitu.as_numpy(simulation.u)
    assert view.shape == (1, 512) and simulation.time == pytest.approx(1.0)
    assert 0.9 < np.abs(view).max() < 1.0


@pytest.mark.parametrize("scheme", ["miniapp", "conservative"])
@pytest.mark.parametrize("points", [64, 250, 9000])
@pytest.mark.parametrize("steps", [4, 5])
def test_ghosts_are_the_periodic_images_after_any_advance(device, scheme, points, steps):
    grid = solver.Grid(points=(points,), extent=((0.0, points / 40),))
    simulation = solver.Simulation(device, grid, solver.Burgers(nu=0.01, scheme=scheme), dt=1e-3)
    simulation.advance(steps=steps)
    ghost = simulation.u.ghost
    images = np.pad(simulation.u.to_host(), [(0, 0), (ghost, ghost)], mode="wrap")
    assert np.array_equal(simulation.u.memory.to_host(), images)

"""The mini-app scheme is bit-faithful: same operations, same order, same rounding, for all of its 2001 steps."""

import numpy as np
import pytest
from helpers.burgers_twin import miniapp

from solver import Burgers, Grid, Recorder, Simulation

STEPS, NU, DT = 2001, 0.01, 1e-3
GRID = Grid(points=(256,), extent=((0.0, 2 * 3.1415926535),))


def trajectory(device, dtype, grid=GRID, steps=STEPS):
    simulation = Simulation(device, grid, Burgers(nu=NU, scheme="miniapp"), dt=DT, dtype=dtype)
    snapshots = device.allocate((steps, grid.size), dtype)
    recorder = Recorder(1, snapshots)
    simulation.advance(steps=steps, recorder=recorder)
    assert recorder.count == steps
    assert np.array_equal(simulation.u.to_host()[0], snapshots.to_host()[-1])
    return snapshots.to_host()


def twin(grid, dtype, steps=STEPS):
    return miniapp(
        np.sin(grid.coordinates()[0]).astype(dtype), NU, grid.spacing[0], DT, steps, trajectory=True
    )


def test_every_step_has_the_same_bits_on_the_host(host_device, dtype):
    assert np.array_equal(trajectory(host_device, dtype), twin(GRID, dtype))


def test_every_step_agrees_to_round_off_on_any_device(device):
    assert np.abs(trajectory(device, "float64") - twin(GRID, "float64")).max() < 1e-13


@pytest.mark.parametrize("points", [3, 8, 15, 16, 17, 250, 1000])
def test_any_number_of_points(host_device, dtype, points):
    grid = Grid(points=(points,), extent=((0.0, 6.28),))
    assert np.array_equal(
        trajectory(host_device, dtype, grid, steps=21), twin(grid, dtype, steps=21)
    )


def test_a_grid_too_large_for_one_launch_takes_the_same_steps(host_device, dtype):
    grid = Grid(points=(10000,), extent=((0.0, 800.0),))
    assert np.array_equal(trajectory(host_device, dtype, grid, steps=7), twin(grid, dtype, steps=7))


def test_known_errors_against_the_exact_solution(host_device):
    """Measured independently: 2.42e-4, 1.14e-3 and 5.0e-2 at t = 0.5, 1 and 2."""
    from helpers.burgers_twin import exact

    fields = trajectory(host_device, "float64")
    x = GRID.coordinates()[0]
    for step, expected in ((500, 2.42e-4), (1000, 1.14e-3), (2000, 5.02e-2)):
        truth = exact(x, step * DT, NU)
        error = np.linalg.norm(fields[step - 1] - truth) / np.linalg.norm(truth)
        assert error == pytest.approx(expected, rel=5e-3)

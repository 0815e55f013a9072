"""The conservative scheme converges to the exact solution, conserves, and respects the maximum principle."""

from pathlib import Path

import numpy as np
import pytest
from helpers.burgers_twin import conservative, exact, stable_step

from solver import Burgers, Device, DivergenceError, Grid, Recorder, Simulation
from solver.simulation import SAFETY
from solver.steppers import method_of

NU = 0.01
REFERENCE = Path(__file__).parent.parent / "data" / "burgers_sin_exact_N256.csv"


def grid_of(points):
    return Grid(points=(points,), extent=((0.0, 2 * np.pi),))


def solve(device, points, until, initial="sin", dtype="float64", **options):
    simulation = Simulation(
        device, grid_of(points), Burgers(nu=NU), initial, dtype=dtype, **options
    )
    simulation.advance(until=until)
    assert simulation.time == pytest.approx(until, abs=1e-12)
    return simulation.u.to_host()[0]


def rel_l2(u, truth):
    return np.linalg.norm(u - truth) / np.linalg.norm(truth)


@pytest.mark.parametrize("until", [0.5, 1.0])
def test_observed_order(until):
    device = Device.open("Serial")
    points = np.array([128, 256, 512, 1024])
    errors = [
        rel_l2(solve(device, n, until), exact(grid_of(n).coordinates()[0], until, NU))
        for n in points
    ]
    order = -np.polyfit(np.log(points), np.log(errors), 1)[0]
    assert order >= 3.4, f"expected about 4, got {order:.2f} from {errors}"


def test_error_against_the_reference_table(device):
    table = np.loadtxt(REFERENCE, delimiter=",", comments=["#", "j"])
    assert rel_l2(solve(device, 512, 1.0)[::2], table[:, 5]) < 2e-5


@pytest.mark.parametrize("points", [64, 128, 256, 512])
def test_no_overshoot_above_the_maximum_principle(host_device, points):
    simulation = Simulation(host_device, grid_of(points), Burgers(nu=NU))
    steps = sum(count for _, count in simulation.plan(until=2.0))
    recorder = Recorder(1, host_device.allocate((steps, points), "float64"))
    simulation.advance(until=2.0, recorder=recorder)
    assert np.abs(recorder.into.to_host()).max() <= 1 + 1e-3


def test_the_sum_is_conserved_to_round_off(device):
    def lopsided(x):
        return 0.5 + np.sin(x) + 0.3 * np.cos(2 * x + 1)

    before = lopsided(grid_of(256).coordinates()[0])
    after = solve(device, 256, 2.0, lopsided)
    assert abs(after.sum() - before.sum()) < 1e-12 * np.abs(before).sum()
    assert np.abs(after - before).max() > 0.1


@pytest.mark.parametrize("points", [64, 300, 20000])
def test_same_bits_as_the_numpy_twin(host_device, dtype, points):
    grid = grid_of(points)
    start = np.sin(grid.coordinates()[0])
    dt = SAFETY * stable_step(np.abs(start).max(), NU, grid.spacing[0])
    simulation = Simulation(host_device, grid, Burgers(nu=NU), dtype=dtype, dt=dt)
    simulation.advance(steps=11)
    assert np.array_equal(
        simulation.u.to_host()[0], conservative(start.astype(dtype), NU, grid.spacing[0], dt, 11)
    )


@pytest.fixture
def rough():
    return np.random.default_rng(3).standard_normal(96)


def test_translation_by_whole_cells_is_bit_identical(host_device, dtype, rough):
    moved = solve(host_device, 96, 0.3, np.roll(rough, 37), dtype)
    assert np.array_equal(moved, np.roll(solve(host_device, 96, 0.3, rough, dtype), 37))


def test_reflection_is_bit_identical(host_device, dtype, rough):
    mirrored = solve(host_device, 96, 0.3, -rough[::-1], dtype)
    assert np.array_equal(mirrored, -solve(host_device, 96, 0.3, rough, dtype)[::-1])


def test_serial_and_openmp_have_the_same_bits(rough, dtype):
    fields = [solve(Device.open(mode), 96, 0.3, rough, dtype) for mode in ("Serial", "OpenMP")]
    assert np.array_equal(*fields)


def test_beyond_the_stability_limit_it_fails(host_device):
    """Where the viscous limit binds, 1.3 times the limit diverges, and the limit itself does not."""
    grid = grid_of(128)
    equation = Burgers(nu=1.0)
    sawtooth = np.sin(grid.coordinates()[0]) + 1e-9 * (-1.0) ** np.arange(128)
    limit = equation.stable_time_step(grid, np.abs(sawtooth).max(), method_of(equation.method))
    Simulation(host_device, grid, equation, sawtooth, dt=limit).advance(steps=3000)
    with pytest.raises(DivergenceError):
        Simulation(host_device, grid, equation, sawtooth, dt=1.3 * limit, force=True).advance(
            steps=3000
        )

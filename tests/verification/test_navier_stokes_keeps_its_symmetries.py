"""What the equations keep the scheme keeps: divergence, momentum, energy, shifts, reflections, moving frames."""

import numpy as np
import pytest
from helpers.flows import PERIODIC, Flow, taylor_green

from solver import (
    Device,
    Dirichlet,
    DivergenceError,
    Grid,
    Neumann,
    ParameterError,
    ShapeError,
    Simulation,
    Wall,
)
from solver.equations.navier_stokes import NavierStokes
from solver.steppers import method_of

NU, STEPS, DT = 0.01, 10, 0.02
CAVITY = ((Wall(), Wall()), (Wall(), Wall((1.0, 0.0))))


@pytest.fixture(scope="module")
def serial():
    """Small grids: a team of threads would only wait where cores are busy."""
    return Device.open("Serial")


def swirl(x, y):
    return np.sin(y) + 0.4 * np.sin(2 * x + y), np.cos(x) - 0.8 * np.sin(2 * x + y)


def run(device, initial=swirl, points=(48, 32), **options):
    return Flow(device, points, initial, NU, **options).advance(STEPS * DT, STEPS)


@pytest.mark.parametrize("sides", [None, CAVITY], ids=["periodic", "cavity"])
@pytest.mark.parametrize(("dtype", "most"), [("float64", 1e-6), ("float32", 1e-4)])
def test_divergence_is_gone_after_each_step(serial, sides, dtype, most):
    """Relative to max|u| / Δx; float32 ends at its round-off."""
    flow = Flow(serial, (48, 32), swirl, NU, sides, dtype=dtype)
    for _ in range(STEPS):
        flow.scheme.step(flow.u, DT)
        scale = np.abs(flow.values).max() / min(flow.grid.spacing)
        assert flow.scheme.divergence(flow.u) <= most * scale


def test_a_smaller_tolerance_leaves_less_divergence(serial):
    flows = [run(serial, tolerance=tolerance) for tolerance in (1e-4, 1e-8, 1e-12)]
    left = [flow.scheme.divergence(flow.u) for flow in flows]
    assert left[0] > 100 * left[1] > 1e4 * left[2]


def test_momentum_is_conserved_to_round_off(serial):
    def drifting(x, y):
        u, v = swirl(x, y)
        return u + 0.7, v - 0.2

    flow = Flow(serial, (48, 32), drifting, NU)
    before = flow.values.mean(axis=(1, 2))
    flow.advance(STEPS * DT, STEPS)
    assert np.abs(flow.values.mean(axis=(1, 2)) - before).max() < 1e-14


def test_energy_without_viscosity_is_conserved_as_steps_shrink(serial):
    def loss(steps):
        flow = Flow(serial, (32, 32), swirl, 1e-12, tolerance=1e-12)
        before = (flow.values**2).sum()
        return abs((flow.advance(0.5, steps).values ** 2).sum() / before - 1)

    assert loss(10) < 1e-3
    assert loss(20) < loss(10) / 6


def test_a_shift_by_whole_cells_shifts_the_solution(serial):
    h = 2 * np.pi / 48
    shifted = run(serial, lambda x, y: swirl(x - 5 * h, y))
    assert np.abs(np.roll(run(serial).values, 5, 1) - shifted.values).max() < 1e-8


def test_a_reflection_reflects_the_solution(serial):
    """x → −x takes centre i to centre −i and face i to face 1 − i, and turns u_0 around."""

    def mirrored(x, y):
        u, v = swirl(-x, y)
        return -u, v

    flow = Flow(serial, (48, 32), swirl, NU)
    other = Flow(serial, (48, 32), mirrored, NU)
    faces, centres = (1 - np.arange(48)) % 48, -np.arange(48) % 48
    for _ in range(2):
        reflected = np.array([-flow.values[0][faces], flow.values[1][centres]])
        assert np.abs(reflected - other.values).max() < 1e-8
        flow.advance(STEPS * DT, STEPS)
        other.advance(STEPS * DT, STEPS)


def test_exchanged_axes_exchange_the_solution(serial):
    turned = run(serial, lambda x, y: swirl(y, x)[::-1], points=(32, 48))
    assert np.abs(run(serial).values[::-1].transpose(0, 2, 1) - turned.values).max() < 1e-8


def test_a_moving_frame_sees_the_same_flow_to_second_order(serial):
    def moving(velocity):
        return lambda x, y: np.add(velocity(x, y), 1.0)

    errors = [
        Flow(serial, (n, n), moving(taylor_green(NU, 0)), NU)
        .advance(0.5, 40)
        .error(moving(taylor_green(NU, 0.5, (0.5, 0.5))))
        for n in (16, 32)
    ]
    assert errors[1] < 5e-3 and errors[0] > 3.5 * errors[1]


def test_the_last_pressures_are_a_guess_worth_iterations(serial):
    """Their extrapolation in time, against starting from nothing at every step."""

    def iterations(forget):
        flow, count = Flow(serial, (48, 32), swirl, NU), 0
        for _ in range(STEPS):
            if forget:
                flow.scheme.admit(flow.u)
            flow.scheme.step(flow.u, DT / 2)
            count += sum(flow.scheme.iterations)
        return count

    assert iterations(forget=False) <= 0.7 * iterations(forget=True)


def test_threads_change_no_bit():
    for sides in (None, CAVITY):
        one, many = (run(Device.open(mode), sides=sides) for mode in ("Serial", "OpenMP"))
        assert np.array_equal(one.values, many.values)
        assert np.array_equal(one.scheme.pressure.to_host(), many.scheme.pressure.to_host())


def test_single_precision_stays_near_double(serial):
    single, double = run(serial, dtype="float32"), run(serial)
    assert np.abs(single.values - double.values).max() < 2e-5


def test_every_mode_gives_the_same_flow(device):
    flow = run(device, points=(20, 18), sides=CAVITY)
    reference = run(Device.open("Serial"), points=(20, 18), sides=CAVITY)
    assert np.abs(flow.values - reference.values).max() < 1e-8


@pytest.mark.parametrize(
    ("points", "sides", "message"),
    [
        ((32,), None, "takes a grid of two or three axes, got grid.points"),
        ((32, 3), None, "at least 4 along each axis"),
        ((32, 32), (PERIODIC, (Dirichlet(), Dirichlet())), "must be Periodic, Wall or Slip, got D"),
        ((32, 32), (PERIODIC, (Wall(), Neumann())), "must be Periodic, Wall or Slip, got N"),
        ((32, 262), None, "halve down to at most 128"),
    ],
)
def test_a_grid_it_cannot_take_is_refused_in_one_sentence(serial, points, sides, message):
    grid = Grid(points, ((0.0, 1.0),) * len(points), sides)
    with pytest.raises(ParameterError, match=message) as caught:
        NavierStokes(NU).discretize(serial, grid, method_of("ssp-rk3"), "float64")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("nu", [0, -1.0, float("nan"), "water", True])
def test_viscosity_must_be_positive(nu):
    with pytest.raises(ParameterError, match="equation nu must be a positive number, got"):
        NavierStokes(nu)


def test_forcing_needs_a_number_per_axis(serial):
    with pytest.raises(ShapeError, match="one component per axis, 2, got 3"):
        Flow(serial, (16, 16), swirl, NU, forcing=(1.0, 0.0, 0.0))


def test_an_ensemble_is_refused(serial):
    grid = Grid((16, 16), ((0.0, 1.0),) * 2)
    with pytest.raises(ParameterError, match="NavierStokes takes no ensemble, got 4 members"):
        NavierStokes(NU).discretize(serial, grid, method_of("ssp-rk3"), "float64", members=4)


def test_a_simulation_takes_the_same_steps(serial):
    """From a function on the faces, freed of its divergence, to the bit."""
    extent = ((0.0, 2 * np.pi),) * 2
    simulation = Simulation(serial, Grid((48, 32), extent), NavierStokes(NU), swirl, dt=DT)
    simulation.advance(steps=STEPS)
    assert np.array_equal(simulation.u.to_host(), run(serial).u.to_host())


def test_a_step_that_is_too_long_ends_in_a_named_step(serial):
    extent = ((0.0, 2 * np.pi),) * 2
    simulation = Simulation(
        serial, Grid((48, 32), extent), NavierStokes(NU), swirl, dt=1.0, force=True
    )
    with pytest.raises(DivergenceError, match="must stay finite, it is not after step"):
        simulation.advance(steps=100)
    assert np.isfinite(simulation.u.to_host()).all()

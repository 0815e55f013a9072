"""Trial steps on other states are the equation's, and the simulation does not notice them."""

import numpy as np
import pytest
from helpers import burgers_twin, stencil_twin
from helpers.navier_stokes_twin import Twin

from solver import (
    AdvectionDiffusion,
    Burgers,
    Device,
    Dirichlet,
    DivergenceError,
    Grid,
    KuramotoSivashinsky,
    NavierStokes,
    Neumann,
    Periodic,
    Simulation,
    Trial,
)
from solver.steppers import METHODS

LINE = Grid((48,), ((0.0, 22.0),))
PLANE = Grid((12, 8), ((0.0, 1.0), (0.5, 2.0)))
WALLED = Grid(
    (12, 8), ((0.0, 1.0), (0.5, 2.0)), ((Dirichlet(0.3), Neumann(0.1)), (Periodic(), Periodic()))
)


def kuramoto_sivashinsky(grid):
    """Return -(u²/2)_x - u_xx - u_xxxx, each by its fourth-order differences."""
    dx = grid.spacing[0]

    def rate(u):
        def at(n, values=u[0]):
            return np.roll(values, -n)

        quadratic = 7 * (at(0) ** 2 + at(1) ** 2) - at(-1) ** 2 - at(2) ** 2
        quadratic = (quadratic + 8 * at(0) * at(1) - at(-1) * at(1) - at(0) * at(2)) / 36
        second = (-at(2) + 16 * at(1) - 30 * at(0) + 16 * at(-1) - at(-2)) / (12 * dx**2)
        fourth = -at(3) + 12 * at(2) - 39 * at(1) + 56 * at(0) - 39 * at(-1) + 12 * at(-2) - at(-3)
        return -((quadratic - np.roll(quadratic, 1)) / dx + second + fourth / (6 * dx**4))[None]

    return rate


def conservative(grid):
    dx, dt = grid.spacing[0], 1e-9

    def rate(u):
        return (burgers_twin.conservative(u[0], 0.7, dx, dt, 1)[None] - u) / dt

    return rate


def navier_stokes(grid):
    twin = Twin(grid.points, [None] * 2, grid.spacing, 0.03)

    def rate(u):
        return (twin.step(u, 1e-3, METHODS["euler"]) - u) / 1e-3

    return rate


FIELD = 0.2 * np.random.default_rng(3).random((1, 12, 8))
EQUATIONS = {
    "advection-diffusion": (
        WALLED,
        AdvectionDiffusion(0.05, (0.4, -0.3), forcing=FIELD),
        stencil_twin.advection_diffusion(WALLED, 0.05, (0.4, -0.3), FIELD),
        1e-12,
    ),
    "Burgers": (
        PLANE,
        Burgers(0.03, forcing=FIELD, scheme="central"),
        stencil_twin.burgers(PLANE, 0.03, FIELD),
        1e-12,
    ),
    "Burgers, conservative": (LINE, Burgers(0.7), conservative(LINE), 1e-5),
    "Kuramoto-Sivashinsky": (LINE, KuramotoSivashinsky(), kuramoto_sivashinsky(LINE), 1e-11),
    "Navier-Stokes": (
        PLANE,
        NavierStokes(0.03, tolerance=1e-13),
        navier_stokes(PLANE),
        1e-9,
    ),
}


def some(simulation, seed):
    return np.random.default_rng(seed).standard_normal(simulation.u.shape)


def start(device, case, method, **options):
    grid, equation = EQUATIONS[case][:2]
    simulation = Simulation(device, grid, equation, "sin", method=method, **options)
    return simulation, Trial(simulation)


@pytest.mark.parametrize("case", EQUATIONS)
def test_an_increment_is_the_right_hand_side(device, case):
    if device.mode == "OpenCL" and len(EQUATIONS[case][0].points) > 1 and case != "Navier-Stokes":
        pytest.skip(
            "pocl takes long for these kernels; one dimension and Navier-Stokes show the mode"
        )
    simulation, trial = start(device, case, "euler")
    state, change = trial.field(), trial.field()
    values = some(simulation, 1)
    if case == "Navier-Stokes":
        values = Twin(PLANE.points, [None] * 2, PLANE.spacing, 0.03).project(values)
    state.set(values)
    dt = 1e-3
    trial.increment(state, change, dt, simulation.time)
    rate, tolerance = EQUATIONS[case][2:]
    expected = rate(values)
    assert np.abs(change.to_host() / dt - expected).max() < tolerance * np.abs(expected).max()
    assert np.array_equal(state.to_host(), values)


@pytest.mark.parametrize("case", [case for case in EQUATIONS if case != "Navier-Stokes"])
def test_a_state_advances_as_it_would_in_the_simulation(host_device, case):
    device = host_device
    simulation, trial = start(device, case, None)
    other = Simulation(device, *EQUATIONS[case][:2], some(simulation, 2), dt=1e-4)
    state = trial.field()
    state.copy_from(other.u)
    trial.advance(state, 1e-4, 7, 0.0)
    other.advance(steps=7)
    assert np.array_equal(state.to_host(), other.u.to_host())


@pytest.mark.parametrize("case", EQUATIONS)
def test_a_run_with_trials_has_the_bits_of_one_without(case):
    device = Device.open("Serial")
    runs = []
    for tries in (False, True):
        simulation, trial = start(device, case, None)
        state = trial.field()
        for _ in range(3):
            simulation.advance(steps=4)
            if tries:
                state.set(some(simulation, 5))
                trial.advance(state, 3e-5, 3, 17.0)
        runs.append((simulation.u.to_host(), simulation.moment, simulation.dt_taken))
    assert np.array_equal(runs[0][0], runs[1][0]) and runs[0][1:] == runs[1][1:]


def test_sides_have_their_values_at_the_time_of_the_trial(device):
    pair = (Dirichlet(lambda x, t: np.sin(3 * t)), Dirichlet(lambda x, t: t))
    grid = Grid((16,), ((0.0, 1.0),), (pair,))
    equation = AdvectionDiffusion(0.1, (0.5,))
    simulation = Simulation(device, grid, equation, "sin", dt=1e-3)
    trial, later = Trial(simulation), Simulation(device, grid, equation, "sin", dt=1e-3)
    later.advance(steps=200)
    state = trial.field()
    state.copy_from(later.u)
    trial.advance(state, 1e-3, 5, later.time)
    later.advance(steps=5)
    assert np.array_equal(state.to_host(), later.u.to_host())
    simulation.advance(steps=205)
    assert np.array_equal(simulation.u.to_host(), later.u.to_host())


def test_a_leap_moves_step_and_time_to_where_steps_lead(device):
    leaping, stepping = (Simulation(device, LINE, Burgers(0.7), "sin", dt=1e-3) for _ in range(2))
    stepping.advance(steps=30)
    state = Trial(leaping).field()
    leaping.advance(steps=10)
    state.copy_from(leaping.u)
    Trial(leaping).advance(state, 1e-3, 15, leaping.time)
    leaping.u.copy_from(state)
    leaping.leap(1e-3, 15)
    assert leaping.moment == (25, pytest.approx(0.025)) and leaping.dt_taken == 1e-3
    leaping.advance(until=0.03)
    assert leaping.step == 30 and np.array_equal(leaping.u.to_host(), stepping.u.to_host())


def test_a_leap_to_values_that_are_not_finite_is_refused(device):
    simulation = Simulation(device, LINE, Burgers(0.7), "sin", dt=1e-3)
    simulation.advance(steps=3)
    values = simulation.u.to_host()
    values[0, 5] = np.nan
    simulation.u.set(values)
    with pytest.raises(DivergenceError, match="written from outside"):
        simulation.leap(1e-3, 10)
    assert simulation.step == 3


def test_divergence_after_a_leap_goes_back_to_the_leap_at_most(device):
    simulation = Simulation(device, LINE, Burgers(0.7), "sin", dt=1e-3)
    simulation.advance(steps=3)
    simulation.u.set(simulation.u.to_host() * 1e160)
    simulation.leap(1e-3, 10)
    with pytest.raises(DivergenceError) as caught:
        simulation.advance(steps=20)
    assert 13 < caught.value.step <= 33 and 13 <= simulation.step < caught.value.step
    assert np.isfinite(simulation.u.to_host()).all()

"""The defect of a proposed interval is its error against the solver, found with three steps of it."""

import numpy as np
import pytest
import torch
from helpers.orders import observed_order
from helpers.propagators import DT, start, waves

from insitu import as_torch
from insitu.takeover import DefectRule, Interval
from solver import (
    Burgers,
    Device,
    Dirichlet,
    Grid,
    KuramotoSivashinsky,
    NavierStokes,
    Neumann,
    Simulation,
    Trial,
)


def swirl(x, y):
    return np.sin(x) * np.cos(2 * y) + 0.3, np.cos(2 * x) * np.sin(y)


CIRCLE = Grid((48,), ((0.0, 2 * np.pi),))
MOVING = Grid((96,), ((0.0, 1.0),), ((Dirichlet(lambda x, t: np.sin(40 * t)), Neumann()),))
TORUS = Grid((16, 12), ((0.0, 2 * np.pi),) * 2)
CASES = {
    "advection-diffusion": lambda device: start(device),
    "sides that depend on time": lambda device: start(device, grid=MOVING),
    "Burgers": lambda device: Simulation(device, CIRCLE, Burgers(0.1), waves(1), dt=2e-3),
    "Kuramoto-Sivashinsky": lambda device: Simulation(
        device, Grid((48,), ((0.0, 22.0),)), KuramotoSivashinsky(), waves(2), dt=1e-3
    ),
    "Navier-Stokes": lambda device: Simulation(
        device, TORUS, NavierStokes(0.05, tolerance=1e-12), swirl, dt=0.01
    ),
}


def ahead(simulation, steps):
    """Return what the solver makes of the present state."""
    trial = Trial(simulation)
    state = trial.field()
    trial.advance(state, simulation.dt, steps, simulation.time)
    return as_torch(state)


@pytest.mark.parametrize("case", CASES)
def test_over_two_steps_it_is_the_error(case):
    simulation = CASES[case](Device.open("Serial"))
    simulation.advance(steps=5)
    interval = Interval(simulation, simulation.dt, lead=2, relaxation=0)
    end = ahead(simulation, 2)
    size = float(end.norm())
    assert interval.test(end)[0] < 1e-9 * size
    wrong = end + 0.01 * torch.roll(end, 3, -1)
    assert interval.test(wrong)[0] == pytest.approx(float((wrong - end).norm()), rel=1e-6)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("size", [1e-3, 1e-1])
def test_over_many_steps_it_is_about_the_error(case, size):
    """A smooth error of a long interval; the factor says how sharp the estimate is."""
    simulation = CASES[case](Device.open("Serial"))
    simulation.advance(steps=40)
    interval = Interval(simulation, simulation.dt, lead=16, relaxation=2)
    proposal = ahead(simulation, 16)
    axis = proposal.shape[-1]
    wave = torch.sin(2 * torch.pi * torch.arange(axis, dtype=torch.float64) / axis)
    defect, _ = interval.test(proposal + size * wave)
    error = float((interval.end - ahead(simulation, 18)).norm())
    assert 0.7 * error < defect < 1.5 * error


def test_of_a_solution_it_falls_with_the_fifth_power_of_the_interval():
    simulation, defects, steps = start(), [], np.array([16, 24, 32, 48])
    simulation.advance(steps=300)
    for count in steps:
        interval = Interval(simulation, DT, lead=int(count), relaxation=0)
        defects.append(interval.test(ahead(simulation, int(count)))[0])
    assert observed_order(steps, defects) > 4.5 and defects[-1] > 1e-12


def test_standing_still_is_not_a_solution():
    simulation = start()
    interval = Interval(simulation, DT, lead=16, relaxation=2)
    defect, _ = interval.test(as_torch(simulation.u).clone())
    error = float((interval.end - ahead(simulation, 18)).norm())
    assert error > 0.05 and defect > 0.7 * error


def test_what_is_not_finite_has_no_defect():
    interval = Interval(start(), DT, lead=16, relaxation=2)
    proposal = as_torch(start().u).clone()
    proposal[0, 5] = torch.nan
    assert np.isnan(interval.test(proposal)).all()


@pytest.mark.parametrize("steps", [2, 3, 10, 250])
def test_the_sum_is_exact_for_quadratics_and_the_states_for_cubics(steps):
    rule = DefectRule(steps)
    nodes = np.array([0, steps / 2, steps])
    for power in range(3):
        total = sum(float(n) ** power for n in range(steps))
        assert np.dot(rule.sum_weights, nodes**power) == pytest.approx(total, rel=1e-11, abs=1e-9)
    cubic = np.polynomial.Polynomial([0.3, -1.0, 0.5, 0.2])
    data = [cubic(0), cubic(1) - cubic(0), cubic(steps), cubic(steps + 1) - cubic(steps)]
    for n in (0.0, 1.0, steps / 2, float(steps)):
        assert np.dot(rule.at(n), data) == pytest.approx(cubic(n), rel=1e-9, abs=1e-9)


def test_one_step_is_no_interval():
    with pytest.raises(ValueError, match="2 or more steps"):
        DefectRule(1)

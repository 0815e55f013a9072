"""Steps that follow the solution's speed end where they should, stay below the limit, and lose no accuracy."""

import numpy as np
import pytest
from helpers.burgers_twin import exact

from solver import Burgers, Device, Grid, ParameterError, Simulation
from solver.steppers import method_of

NU = 0.01


def make(cfl=0.8, count=256, scheme=None, **options):
    grid = Grid((count,), ((0.0, 2 * np.pi),))
    return Simulation(Device.open("Serial"), grid, Burgers(NU, scheme), cfl=cfl, **options)


@pytest.mark.parametrize("until", [0.3, 1.0, 2.0 / 3.0])
def test_the_time_is_hit_exactly_and_the_solution_is_as_good(until):
    simulation = make()
    simulation.advance(until=until)
    assert simulation.time == until
    fixed = make(cfl=None)
    fixed.advance(until=until)
    truth = exact(simulation.grid.axes()[0], until, NU)
    errors = [
        np.linalg.norm(each.u.to_host()[0] - truth) / np.linalg.norm(truth)
        for each in (simulation, fixed)
    ]
    assert errors[0] < 1.5 * errors[1] + 1e-7 and errors[0] < 1e-3
    simulation.advance(until=until)
    assert simulation.time == until


@pytest.mark.parametrize("scheme", ["conservative", "central"])
def test_no_step_is_above_its_fraction_of_the_limit(scheme):
    simulation = make(scheme=scheme)
    method = method_of(simulation.equation.method)
    speed, steps = 1.0, []
    for _ in simulation.steps(until=12.0):
        dt = simulation.dt_taken
        limit = simulation.equation.stable_time_step(simulation.grid, speed, method)
        assert dt <= 0.8 * limit * (1 + 1e-12)
        steps.append(dt)
        if simulation.step % 8 == 0:
            speed = float(np.abs(simulation.u.to_host()).max())
    assert simulation.time == 12.0
    if scheme == "conservative":
        assert steps[-9] > 1.3 * steps[0], "the front has lost speed, the steps must have grown"


def test_a_number_of_steps_is_kept():
    simulation = make()
    simulation.advance(steps=21)
    assert simulation.step == 21
    simulation.advance(until=100.0, steps=3)
    assert simulation.step == 24


@pytest.mark.parametrize("cfl", [0.0, -1.0, 1.01, True])
def test_other_fractions_are_refused(cfl):
    with pytest.raises(ParameterError, match="fraction of the stability limit"):
        make(cfl)

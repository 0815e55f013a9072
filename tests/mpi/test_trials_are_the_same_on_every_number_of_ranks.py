"""What trial steps make of a state does not depend on the number of ranks that share it."""

import numpy as np
import pytest
from helpers.flows import PERIODIC
from helpers.sharing import grid_of, on_all_and_on_one, put_together

from solver import AdvectionDiffusion, Burgers, Device, Grid, NavierStokes, Trial

pytestmark = pytest.mark.ranks(1, 2, 3, 4)

FLOW = Grid((34, 38), ((0.0, 1.0), (0.0, 1.1)), (PERIODIC, PERIODIC))
CASES = {
    "line": (grid_of((120,)), Burgers(0.02), 0.0),
    "plane with sides": (grid_of((34, 38), "mixed"), AdvectionDiffusion(0.02, (0.4, -0.3)), 0.0),
    "flow": (FLOW, NavierStokes(0.02, tolerance=1e-12), 1e-10),
}


@pytest.mark.parametrize("case", CASES)
def test_increments_and_steps(comm, case):
    grid, equation, tolerance = CASES[case]
    shape = (equation.components(grid), *grid.points)
    values = np.random.default_rng(2).standard_normal(shape)
    found = []
    for simulation in on_all_and_on_one(comm, Device.open("Serial"), grid, equation, dt=1e-3):
        trial = Trial(simulation)
        state, change = trial.field(), trial.field()
        state.set(simulation.grid.part(values))
        trial.increment(state, change, 1e-3, 0.0)
        trial.advance(state, 1e-3, 5, 0.0)
        simulation.u.copy_from(state)
        advanced = put_together(comm, simulation, shape) if simulation.comm else state.to_host()
        simulation.u.copy_from(change)
        changed = put_together(comm, simulation, shape) if simulation.comm else change.to_host()
        found.append(np.stack([advanced, changed]))
    assert np.abs(found[0] - found[1]).max() <= tolerance * np.abs(found[1]).max()
    assert np.abs(found[1][1]).max() > 1e-5

"""Two ranks on one GPU have the bits of one, with their messages staged through pinned memory."""

import sys

import pytest
from helpers.processes import finish, start_ranks

pytestmark = pytest.mark.gpu

SCRIPT = """
import warnings
import numpy as np
from mpi4py import MPI
from solver import AdvectionDiffusion, Burgers, Device, Dirichlet, Grid, Simulation

warnings.simplefilter("ignore")
comm = MPI.COMM_WORLD
device = Device.open("CUDA", comm)
sides = (Dirichlet(0.1), Dirichlet(0.2))
for points, equation, boundaries in (
    ((9000,), Burgers(0.02), None),
    ((300, 260), Burgers(0.02, "central", forcing=0.1), None),
    ((300, 260), Burgers(0.02, "central"), (sides, sides)),
    ((64, 40, 70), AdvectionDiffusion(0.02, (0.3, 0.2, 0.1)), None),
):
    grid = Grid(points, ((0.0, 1.0),) * len(points), boundaries)
    shape = (equation.components(grid), *points)
    start = 0.1 * np.random.default_rng(0).standard_normal(shape) + 0.2
    for overlap in (False, True):
        shared = Simulation(device, grid, equation, start, comm=comm, overlap=overlap)
        alone = Simulation(device, grid, equation, start)
        for simulation in (shared, alone):
            simulation.take(0.4 * alone.limit, 23)
        assert np.array_equal(shared.u.to_host(), shared.grid.part(alone.u.to_host())), (points, overlap)
print("equal", flush=True)
"""


def test_fields_have_the_bits_of_one_rank():
    status, out, error = finish(start_ranks(2, sys.executable, "-c", SCRIPT), 300)
    assert status == 0, error
    assert out.split() == ["equal", "equal"]

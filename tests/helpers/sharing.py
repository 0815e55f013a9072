"""A simulation on all ranks, and the same on one."""

import numpy as np

from solver import Dirichlet, Grid, Neumann, Periodic, Simulation

PERIODIC = (Periodic(), Periodic())
EXTENT = ((0.0, 1.0), (0.0, 1.3), (-0.2, 0.9))
SIDES = {
    "periodic": (PERIODIC,) * 3,
    "sides": (
        (Dirichlet(0.3), Neumann(-0.5)),
        (Neumann(0.2), Dirichlet(-0.1)),
        (Dirichlet(0.2), Dirichlet(0.4)),
    ),
    "mixed": ((Dirichlet(0.1), Dirichlet(0.2)), PERIODIC, (Neumann(), Neumann(1.0))),
}


def grid_of(points, sides="periodic"):
    axes = len(points)
    return Grid(tuple(points), EXTENT[:axes], SIDES[sides][:axes])


def rough(grid, equation, members=None, seed=0):
    lead = () if members is None else (members,)
    shape = (*lead, equation.components(grid), *grid.points)
    return 0.1 * np.random.default_rng(seed).standard_normal(shape) + 0.2


def put_together(comm, simulation, shape):
    """The state of all ranks as one array, and how often each value was owned."""
    whole, owners = np.zeros(shape), np.zeros(shape, int)
    share, grid = simulation.share, simulation.grid
    mine = share.begin, share.end, grid.begin, grid.points, simulation.u.to_host()
    for first, last, begin, points, values in comm.allgather(mine):
        box = tuple(slice(b, b + n) for b, n in zip(begin, points, strict=True))
        members = () if simulation.members is None else (slice(first, last),)
        whole[(*members, slice(None), *box)] = values
        owners[(*members, slice(None), *box)] += 1
    assert (owners == 1).all()
    return whole


def on_all_and_on_one(comm, device, grid, equation, members=None, **settings):
    """The simulation that the ranks share, and the one that each of them runs alone."""
    start = rough(grid, equation, members or equation.members)
    parallel = {name: settings.pop(name) for name in ("ranks", "overlap") if name in settings}
    settings = {"initial": start, "members": members, **settings}
    alone = Simulation(device, grid, equation, **settings)
    shared = Simulation(device, grid, equation, comm=comm, **parallel, **settings)
    return shared, alone

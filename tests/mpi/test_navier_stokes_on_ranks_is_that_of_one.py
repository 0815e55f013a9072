"""Incompressible flow on any number of ranks is that of one rank to round-off, far below the tolerance of the pressure."""

import numpy as np
import pytest
from conftest import skip
from helpers.flows import PERIODIC
from helpers.sharing import on_all_and_on_one, put_together

from solver import (
    Device,
    DivergenceError,
    Grid,
    NavierStokes,
    ParameterError,
    Recorder,
    Simulation,
    Slip,
    Wall,
    modes_present,
)

ALL = (1, 2, 3, 4, 6, 8)
FEW = (2, 3, 4)
SAME = 1e-10  # of the largest velocity
NO_SLIP, SLIP = (Wall(), Wall()), (Slip(), Slip())
LID, LID_3 = (Wall(), Wall((1.0, 0.0))), (Slip(), Wall((0.6, 0.3, 0.0)))
EXTENT = ((0.0, 1.0), (0.0, 1.1), (0.0, 1.2))


def swirl(x, y, z=None):
    k, m = 2 * np.pi, 2 * np.pi / 1.1
    u = np.sin(k * x) * np.cos(m * y) + 0.2 * np.cos(3 * m * y)
    v = -np.cos(k * x) * np.sin(m * y)
    return (u, v) if z is None else (u * np.cos(k * z / 1.2), v, 0.3 * np.cos(k * x))


def rest(x, y):
    return 0 * x, 0 * y


CASES = {
    "periodic": ((86, 70), (PERIODIC, PERIODIC), swirl),
    "cavity": ((74, 90), (NO_SLIP, LID), rest),
    "slip planes": ((90, 66), (SLIP, PERIODIC), swirl),
    "small": ((18, 20), (PERIODIC, LID), swirl),
    "box": ((36, 42, 38), (PERIODIC, NO_SLIP, LID_3), swirl),
    "periodic box": ((34, 30, 44), (PERIODIC,) * 3, swirl),
}
GRIDS = {
    2: [(2, 1), (1, 2)],
    3: [(3, 1), (1, 3)],
    4: [(2, 2), (4, 1), (1, 4)],
    6: [(2, 3), (1, 6)],
    8: [(4, 2), (8, 1)],
}
BOXES = {
    2: [(2, 1, 1), (1, 2, 1), (1, 1, 2)],
    3: [(3, 1, 1), (1, 3, 1), (1, 1, 3)],
    4: [(2, 2, 1), (1, 2, 2), (2, 1, 2)],
    6: [(1, 2, 3)],
    8: [(2, 2, 2)],
}


def flows(comm, name, mode="Serial", nu=0.01, forcing=None, **settings):
    """The flow that the ranks share, and the one that each of them runs alone."""
    points, sides, initial = CASES[name]
    grid = Grid(points, EXTENT[: len(points)], sides)
    settings = {"initial": initial, **settings}
    equation = NavierStokes(nu, forcing=forcing)
    return on_all_and_on_one(comm, Device.open(mode), grid, equation, **settings)


def require_same(comm, shared, alone, limit=SAME):
    expected = alone.u.to_host()
    assert np.abs(expected).max() > 0.1
    difference = np.abs(put_together(comm, shared, expected.shape) - expected).max()
    assert difference <= limit * np.abs(expected).max()


def advance(*simulations, steps, fraction=0.4):
    """Take equal steps and return the pressure's iterations of each simulation in all stages."""
    dt, counts = fraction * simulations[-1].limit, []
    for simulation in simulations:
        counts.append([])
        for _ in range(steps):
            simulation.take(dt, 1)
            counts[-1] += simulation.discretization.iterations
        simulation.check()
    return counts


@pytest.mark.ranks(*ALL)
@pytest.mark.parametrize("name", ["periodic", "cavity"])
def test_fields_after_200_steps(comm, name):
    shared, alone = flows(comm, name)
    assert shared.limit == alone.limit
    advance(shared, alone, steps=200)
    require_same(comm, shared, alone)
    spacing = min(alone.grid.spacing)
    largest = shared.discretization.divergence(shared.u)
    assert largest == pytest.approx(alone.discretization.divergence(alone.u), rel=1e-3)
    assert largest < 1e-6 / spacing * np.abs(alone.u.to_host()).max()


@pytest.mark.ranks(*FEW, 6, 8)
@pytest.mark.parametrize("name", CASES)
def test_any_process_grid(comm, name):
    axes = len(CASES[name][0])
    for ranks in (GRIDS if axes == 2 else BOXES)[comm.size]:
        shared, alone = flows(comm, name, ranks=ranks)
        assert shared.grid.decomposition.ranks == ranks
        here, there = advance(shared, alone, steps=4)
        assert here == there
        assert comm.allgather(here) == [here] * comm.size
        require_same(comm, shared, alone)


@pytest.mark.ranks(*FEW)
@pytest.mark.parametrize("method", ["euler", "ssp-rk2", "rk4"])
def test_margins_last_for_every_method(comm, method):
    shared, alone = flows(comm, "slip planes", method=method)
    shared.take(0.4 * alone.limit, 9)
    alone.take(0.4 * alone.limit, 9)
    require_same(comm, shared, alone)


@pytest.mark.ranks(*FEW)
def test_threads_change_nothing(comm):
    shared, alone = flows(comm, "periodic", "OpenMP")
    advance(shared, alone, steps=3)
    require_same(comm, shared, alone)


@pytest.mark.ranks(2)
@pytest.mark.timeout(300)
def test_devices_with_their_own_memory(comm):
    """In OpenCL, whose messages are staged."""
    if "OpenCL" not in modes_present():
        skip("OpenCL", "mode OpenCL is not present")
    points, sides, initial = CASES["periodic"]
    grid, equation = Grid(points, EXTENT[:2], sides), NavierStokes(0.01)
    device = Device.open("OpenCL")
    shared = Simulation(device, grid, equation, initial, comm=comm)
    alone = Simulation(Device.open("Serial"), grid, equation, initial)
    before = device.transfers
    advance(shared, alone, steps=3)
    assert device.transfers["host_to_device"] > before["host_to_device"]
    require_same(comm, shared, alone)


@pytest.mark.ranks(*FEW)
def test_single_precision(comm):
    shared, alone = flows(comm, "cavity", dtype="float32")
    advance(shared, alone, steps=20)
    require_same(comm, shared, alone, 1e-4)


@pytest.mark.ranks(*FEW)
def test_a_forcing_written_on_the_way_reaches_the_neighbours(comm):
    shared, alone = flows(comm, "slip planes", forcing=lambda x, y: (np.sin(5 * y), np.cos(3 * x)))
    rng = np.random.default_rng(3)
    for _ in range(3):
        advance(shared, alone, steps=2)
        values = rng.standard_normal((2, *alone.grid.points))
        values[0, 0] = 0
        for simulation in (shared, alone):
            part = np.ascontiguousarray(simulation.grid.part(values))
            simulation.fields["forcing"].copy_from(part)
    require_same(comm, shared, alone)


@pytest.mark.ranks(*FEW)
@pytest.mark.parametrize("name", ["cavity", "box"])
def test_the_pressure_is_that_of_the_block(comm, name):
    shared, alone = flows(comm, name)
    advance(shared, alone, steps=3)
    whole = alone.discretization.pressure.to_host()
    own = shared.discretization.pressure.to_host()
    assert own.shape == shared.grid.points
    difference = own - shared.grid.part(whole)
    constant = comm.bcast(difference.flat[0])
    assert np.abs(difference - constant).max() < 1e-9 * np.abs(whole).max()


@pytest.mark.ranks(*FEW)
def test_snapshots_are_those_of_the_block(comm):
    rows = []
    for simulation in flows(comm, "periodic"):
        into = simulation.device.allocate((4, simulation.u.memory.size), "float64")
        recorder = Recorder(3, into)
        for burst in (4, 5, 1):
            simulation.take(0.4 * simulation.limit, burst, recorder)
        snapshots = recorder.into.to_host()[: recorder.count]
        rows.append((simulation.grid, snapshots.reshape(-1, *simulation.u.shape)))
    (grid, own), (_, whole) = rows
    assert len(own) == len(whole) > 2
    assert np.abs(own - grid.part(whole)).max() < SAME


@pytest.mark.ranks(*FEW)
def test_steps_that_follow_the_speed_are_the_same_on_all_ranks(comm):
    shared, alone = flows(comm, "small", cfl=0.5)
    for simulation in (shared, alone):
        simulation.advance(until=30 * alone.limit)
    assert comm.allgather(shared.moment) == [shared.moment] * comm.size
    assert shared.moment.step == alone.moment.step
    require_same(comm, shared, alone)


@pytest.mark.ranks(*FEW)
def test_divergence_is_an_error_on_all_ranks(comm):
    shared, _ = flows(comm, "small", force=True, nu=0.1)
    with pytest.raises(DivergenceError) as error:
        shared.take(30 * shared.limit, 400)
        shared.check()
    assert len(set(comm.allgather(str(error.value)))) == 1


@pytest.mark.ranks(4, 6, 8)
def test_blocks_too_small_for_the_pressure_are_refused(comm):
    extent = ((0.0, 16384.0), (0.0, 256.0 * comm.size))
    grid = Grid((16384, comm.size), extent, (NO_SLIP,) * 2)
    equation = NavierStokes(0.1)
    with pytest.raises(
        ParameterError, match=rf"two cells.*got \(1, {comm.size}\) ranks.*use fewer"
    ):
        Simulation(Device.open("Serial"), grid, equation, "sin", comm=comm, ranks=(1, comm.size))

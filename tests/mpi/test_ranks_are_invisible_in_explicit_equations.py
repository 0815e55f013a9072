"""An explicit equation has the same bits on any number of ranks, however the grid is cut."""

import math

import numpy as np
import pytest
from conftest import HOST_MODES, skip
from helpers.ranks import same_on_all_ranks
from helpers.sharing import PERIODIC, SIDES, grid_of, on_all_and_on_one, put_together
from hypothesis import given, settings
from hypothesis import strategies as st

from solver import (
    AdvectionDiffusion,
    Burgers,
    Device,
    Dirichlet,
    DivergenceError,
    Grid,
    KuramotoSivashinsky,
    ParameterError,
    Recorder,
    Simulation,
    modes_present,
)

ALL = (1, 2, 3, 4, 6, 8)
FEW = (2, 3, 4)
POINTS = {1: (90,), 2: (37, 29), 3: (14, 11, 19)}


def forced(axes, points=None):
    shape = (axes, *(points or POINTS[axes]))
    return Burgers(0.02, "central", forcing=np.random.default_rng(1).uniform(-0.1, 0.1, shape))


def with_fields(axes):
    draw = np.random.default_rng(2).uniform
    return AdvectionDiffusion(
        diffusivity_field=draw(0.01, 0.02, (1, *POINTS[axes])),
        velocity_field=draw(-0.2, 0.2, (axes, *POINTS[axes])),
    )


EQUATIONS = {
    "conservative Burgers": (Burgers(0.02), (64,), "periodic"),
    "mini-app": (Burgers(0.02, "miniapp"), (64,), "periodic"),
    "Kuramoto-Sivashinsky": (KuramotoSivashinsky(0.01), (48,), "periodic"),
    **{f"Burgers {n}-D": (forced(n), POINTS[n], "mixed") for n in POINTS},
    **{
        f"advection-diffusion {n}-D": (
            AdvectionDiffusion(0.01, (0.3, -0.2, 0.1)[:n]),
            POINTS[n],
            "sides",
        )
        for n in POINTS
    },
}


def check(comm, device, grid, equation, steps, fraction=0.5, **chosen):
    shared, alone = on_all_and_on_one(comm, device, grid, equation, **chosen)
    assert shared.limit == alone.limit
    for simulation in (shared, alone):
        simulation.take(fraction * alone.limit, steps)
        simulation.check()
    expected = alone.u.to_host()
    assert np.isfinite(expected).all()
    assert np.array_equal(put_together(comm, shared, expected.shape), expected)
    return shared


@pytest.mark.ranks(*ALL)
@pytest.mark.parametrize("mode", HOST_MODES)
@pytest.mark.parametrize("name", EQUATIONS)
def test_fields_after_200_steps(comm, name, mode):
    if mode == "OpenMP" and comm.size not in (2, 4):
        pytest.skip("the bits of Serial are shown here, those of OpenMP on 2 and 4 ranks")
    equation, points, sides = EQUATIONS[name]
    check(comm, Device.open(mode, comm), grid_of(points, sides), equation, 200)


@pytest.mark.ranks(*FEW)
@pytest.mark.parametrize(
    ("axes", "sides", "method"),
    [
        (1, "sides", "ssp-rk3"),
        (1, "mixed", "rk4"),
        (2, "periodic", "ssp-rk3"),
        (2, "sides", "euler"),
        (3, "periodic", "rk4"),
        (3, "sides", "ssp-rk3"),
        (3, "mixed", "euler"),
    ],
)
def test_methods_and_sides(comm, axes, sides, method):
    equation = forced(axes) if method == "ssp-rk3" else Burgers(0.02, "central")
    check(comm, Device.open("Serial"), grid_of(POINTS[axes], sides), equation, 23, method=method)


@pytest.mark.ranks(4, 8)
@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("sides", ["periodic", "mixed"])
def test_blocks_cut_along_every_axis(comm, sides, overlap):
    ranks = (2, 2, 1) if comm.size == 4 else (2, 2, 2)
    grid = grid_of((23, 18, 20), sides)
    chosen = {"ranks": ranks, "overlap": overlap, "method": "euler"}
    shared = check(comm, Device.open("Serial"), grid, Burgers(0.02, "central"), 23, 0.3, **chosen)
    assert shared.grid.decomposition.ranks == ranks
    check(comm, Device.open("Serial"), grid_of((45, 39), sides), forced(2, (45, 39)), 9,
          ranks=(2, comm.size // 2), overlap=overlap)  # fmt: skip


@pytest.mark.ranks(*FEW)
@pytest.mark.parametrize("points", [(4500,), (64, 35), (40, 12, 7)])
def test_inner_tiles_may_go_first(comm, points):
    grid = grid_of((*points[:-1], comm.size * points[-1]))
    chosen = {"overlap": True, "method": "ssp-rk2"}
    shared = check(comm, Device.open("OpenMP", comm), grid, Burgers(0.02, "central"), 9, **chosen)
    plans = [each.plan for each in shared.discretization._passes.values()]
    assert all(0 < plan.inner < len(plan.order) for plan in plans if plan.steps == 1)


@pytest.mark.ranks(2, 3)
@pytest.mark.parametrize(("points", "method"), [((90,), "ssp-rk2"), ((37, 29), "euler")])
def test_devices_with_their_own_memory(comm, points, method):
    """In OpenCL, whose messages are staged."""
    if "OpenCL" not in modes_present():
        skip("OpenCL", "mode OpenCL is not present")
    device = Device.open("OpenCL")
    before = device.transfers
    shared = check(comm, device, grid_of(points), Burgers(0.02, "central"), 7, method=method)
    assert all(halo.is_staged for halo in shared.discretization.halos)
    assert device.transfers["device_to_host"] > before["device_to_host"]


@pytest.mark.ranks(*FEW)
def test_a_field_written_on_the_way_reaches_the_neighbours(comm):
    grid = grid_of(POINTS[2])
    shared, alone = on_all_and_on_one(comm, Device.open("Serial"), grid, forced(2))
    rng = np.random.default_rng(7)
    for _ in range(3):
        values = 0.1 * rng.standard_normal((2, *grid.points))
        for simulation in (shared, alone):
            part = np.ascontiguousarray(simulation.grid.part(values))
            simulation.fields["forcing"].copy_from(part)
            simulation.take(0.5 * alone.limit, 5)
    expected = alone.u.to_host()
    assert np.array_equal(put_together(comm, shared, expected.shape), expected)


@pytest.mark.ranks(*FEW)
def test_sides_that_depend_on_space_and_time(comm):
    sides = ((Dirichlet(lambda x, y, t: np.sin(9 * y + 5 * t)), Dirichlet(0.1)), PERIODIC)
    grid = Grid((21, 26), ((0.0, 1.0), (0.0, 1.3)), sides)
    for ranks in ((comm.size, 1), (1, comm.size)):
        check(comm, Device.open("Serial"), grid, Burgers(0.02, "central"), 11, ranks=ranks)


@pytest.mark.ranks(*FEW)
def test_a_recorder_gets_the_same_snapshots(comm):
    grid = grid_of(POINTS[2], "mixed")
    device = Device.open("Serial")
    rows = []
    for simulation in on_all_and_on_one(comm, device, grid, Burgers(0.02, "central")):
        recorder = Recorder(3, device.allocate((8, simulation.u.memory.size), "float64"))
        for burst in (5, 1, 9):
            simulation.take(0.2 * simulation.limit, burst, recorder)
        snapshots = recorder.into.to_host()[: recorder.count]
        rows.append(snapshots.reshape(-1, *simulation.u.shape))
        own = simulation.grid
    shared, alone = on_all_and_on_one(comm, device, grid, Burgers(0.02, "central"))
    assert np.array_equal(rows[0], shared.grid.part(rows[1]))
    assert own is alone.grid or own == alone.grid


@pytest.mark.ranks(*ALL)
@pytest.mark.parametrize("members", [3, 8])
def test_ensembles_share_members_then_space(comm, members):
    nu = np.linspace(0.02, 0.05, members).tolist()
    grid = grid_of((24, 17), "mixed")
    shared = check(comm, Device.open("Serial"), grid, Burgers(nu, "central"), 12, fraction=0.4)
    owned = comm.allgather((shared.share.begin, shared.share.end))
    assert max(last for _, last in owned) == members
    if comm.size in (2, 4, 8) and members == 8:
        assert shared.members == members // comm.size
        assert not any(shared.grid.is_cut)


@pytest.mark.ranks(4)
def test_ensembles_share_both_when_asked(comm):
    nu = [0.02, 0.03, 0.05]
    shared = check(
        comm, Device.open("Serial"), grid_of((24, 17)), Burgers(nu, "central"), 12, ranks=(1, 2)
    )
    assert shared.grid.decomposition.ranks == (1, 2)
    assert shared.members == (1, 2)[comm.rank // 2]


@pytest.mark.ranks(*FEW)
@pytest.mark.parametrize("name", ["sin", "gaussian"])
def test_named_initial_values_and_cfl(comm, name):
    grid = grid_of((33, 20))
    shared, alone = on_all_and_on_one(
        comm, Device.open("Serial"), grid, Burgers(0.02, "central"), initial=name, cfl=0.5
    )
    for simulation in (shared, alone):
        simulation.advance(until=20 * alone.limit)
    assert shared.moment == alone.moment
    expected = alone.u.to_host()
    assert np.array_equal(put_together(comm, shared, expected.shape), expected)


@pytest.mark.ranks(*FEW)
def test_divergence_is_told_alike_by_all(comm):
    shared, alone = on_all_and_on_one(
        comm, Device.open("Serial"), grid_of((24, 17)), Burgers(0.02, "central"), force=True
    )
    told = []
    for simulation in (shared, alone):
        with pytest.raises(DivergenceError) as error:
            simulation.take(40 * alone.limit, 300)
            simulation.check()
        told.append((str(error.value), simulation.moment))
    assert comm.allgather(told[0]) == [told[1]] * comm.size


@pytest.mark.ranks(*FEW)
@settings(same_on_all_ranks, max_examples=6)
@given(data=st.data())
def test_any_grid_on_any_process_grid(comm, data):
    axes = data.draw(st.integers(1, 3), "axes")
    sizes = {1: 60, 2: 24, 3: 12}
    points = data.draw(st.tuples(*[st.integers(4, sizes[axes])] * axes), "points")
    fitting = [
        ranks
        for ranks in np.ndindex(*(comm.size + 1,) * axes)
        if math.prod(ranks) == comm.size and all(r <= n for r, n in zip(ranks, points, strict=True))
    ]
    ranks = data.draw(st.sampled_from(fitting), "ranks")
    sides = data.draw(st.sampled_from(list(SIDES)), "sides")
    method = data.draw(st.sampled_from(["euler", "ssp-rk2", "ssp-rk3"]), "method")
    overlap = data.draw(st.booleans(), "overlap")
    equation = AdvectionDiffusion(0.01, (0.3, -0.2, 0.1)[:axes])
    device = Device.open("Serial")
    chosen = {"ranks": ranks, "method": method, "overlap": overlap}
    check(comm, device, grid_of(points, sides), equation, 11, **chosen)


@pytest.mark.ranks(2, 4, 8)
def test_more_ranks_than_points_are_refused(comm):
    points = (comm.size - 1,) * 1
    equation = AdvectionDiffusion(0.01, (0.3,))
    with pytest.raises(ParameterError, match="use fewer ranks"):
        Simulation(Device.open("Serial"), grid_of(points), equation, comm=comm)


@pytest.mark.ranks(8)
def test_blocks_thinner_than_the_stencil_are_refused(comm):
    with pytest.raises(ParameterError, match=r"at least 3 points along each cut axis.*use fewer"):
        Simulation(Device.open("Serial"), grid_of((16,)), KuramotoSivashinsky(0.05), comm=comm)


@pytest.mark.ranks(2, 3, 4)
@pytest.mark.parametrize("ranks", [(5, 1), (2,), (0, 1), (-1, -2)])
def test_process_grids_that_do_not_multiply_are_refused(comm, ranks):
    with pytest.raises(ParameterError, match="multiply to"):
        Simulation(Device.open("Serial"), grid_of((16, 16)), Burgers(0.02), comm=comm, ranks=ranks)

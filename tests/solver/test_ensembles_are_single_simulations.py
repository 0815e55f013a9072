"""A member of an ensemble has every bit of the single simulation with its parameters and its fields."""

import numpy as np
import pytest

from solver import (
    AdvectionDiffusion,
    Burgers,
    Device,
    Dirichlet,
    DivergenceError,
    Grid,
    KuramotoSivashinsky,
    Neumann,
    ParameterError,
    Periodic,
    Recorder,
    ShapeError,
    Simulation,
)

NU = (0.02, 0.035, 0.05)
VELOCITY = (0.5, -0.25, 1.0)
SIDES = ((Dirichlet(0.1), Neumann(0.3)), (Periodic(), Periodic()), (Neumann(0.0), Dirichlet(0.2)))


def unit(points, sides=None):
    return Grid(points, ((0.0, 1.0),) * len(points), sides)


CASES = {
    "1-D whole, conservative": (unit((64,)), lambda k: Burgers(NU[k])),
    "1-D whole, Kuramoto-Sivashinsky": (unit((64,)), lambda k: KuramotoSivashinsky(NU[k])),
    "1-D tiles, sides and forcing": (
        unit((9000,), SIDES[:1]),
        lambda k: AdvectionDiffusion(NU[k], (VELOCITY[k],), forcing=0.0),
    ),
    "1-D tiles, conservative": (unit((9000,)), lambda k: Burgers(NU[k])),
    "2-D, forcing": (unit((20, 24), SIDES[:2]), lambda k: Burgers(NU[k], "central", forcing=0.0)),
    "3-D": (
        unit((8, 9, 10), SIDES),
        lambda k: AdvectionDiffusion(NU[k], (VELOCITY[k], 0.0, VELOCITY[k])),
    ),
    "3-D, three components": (unit((8, 9, 10)), lambda k: Burgers(NU[k])),
}
ALL = slice(None)


def fill(simulation, grid, which):
    """Write each member's own field, where there is one."""
    for memory in simulation.fields.values():
        shape = memory.shape if which is not ALL else memory.shape[1:]
        values = np.random.default_rng(11).uniform(0.5, 2, (len(NU), *shape))
        memory.copy_from(np.ascontiguousarray(values[which], dtype=memory.dtype))


def make(device, name, which, start, **options):
    grid, equation = CASES[name]
    simulation = Simulation(device, grid, equation(which), start, **options)
    fill(simulation, grid, which)
    return simulation


def starts(name):
    grid, equation = CASES[name]
    shape = (len(NU), equation(0).components(grid), *grid.points)
    return 0.3 * np.random.default_rng(4).standard_normal(shape)


def check(device, name, dtype="float64"):
    start = starts(name)
    ensemble = make(device, name, ALL, start, dtype=dtype)
    assert ensemble.u.shape == start.shape and ensemble.members == len(NU)
    dt = 0.5 * ensemble.limit
    ensemble.take(dt, 7)
    states = []
    for k in range(len(NU)):
        single = make(device, name, k, start[k], dtype=dtype)
        assert dt <= single.limit
        single.take(dt, 7)
        states.append(single.u.to_host())
        assert np.array_equal(ensemble.u.member(k).to_host(), states[k])
    assert not np.allclose(states[0] - start[0], states[1] - start[1])


@pytest.mark.parametrize("name", CASES)
def test_on_the_host(name):
    check(Device.open("Serial"), name)


def test_in_every_mode_and_type(device, dtype):
    check(device, "1-D whole, conservative", dtype)


def test_by_several_threads():
    check(Device.open("OpenMP"), "2-D, forcing", "float32")


def test_the_same_start_and_different_starts(host_device):
    grid = unit((64,))
    for start in ("gaussian", np.full(64, 0.5)):
        simulation = Simulation(host_device, grid, Burgers(NU), start)
        assert simulation.u.shape == (3, 1, 64)
        assert np.array_equal(simulation.u.to_host()[0], simulation.u.to_host()[2])
    rows = np.arange(3 * 64.0).reshape(3, 64) / 200
    assert np.array_equal(Simulation(host_device, grid, Burgers(NU), rows).u.to_host()[:, 0], rows)
    same = Simulation(host_device, grid, Burgers(0.02), rows, members=3)
    assert same.members == 3


def test_members_are_views(host_device):
    simulation = make(
        host_device, "1-D whole, conservative", ALL, starts("1-D whole, conservative")
    )
    view = np.asarray(simulation.u.member(1))
    whole = np.asarray(simulation.u)
    assert view.shape == (1, 64) and np.shares_memory(view, whole[1])
    simulation.advance(steps=3)
    assert np.array_equal(view, simulation.u.to_host()[1])
    view[0, 5] = 0.25
    assert whole[1, 0, 5] == 0.25
    for number in (-1, 3):
        with pytest.raises(ShapeError, match="a member must be a number of an ensemble of 3"):
            simulation.u.member(number)


@pytest.mark.parametrize("name", ["1-D whole, conservative", "2-D, forcing"])
def test_a_row_of_a_recorder_is_the_whole_ensemble(host_device, name):
    recorded, stepped = (make(host_device, name, ALL, starts(name)) for _ in range(2))
    recorder = Recorder(2, host_device.allocate((3, recorded.u.memory.size), "float64"))
    dt = 0.5 * recorded.limit
    recorded.take(dt, 6, recorder)
    for n in range(3):
        stepped.take(dt, 2)
        row = recorder.into.to_host()[n].reshape(recorded.u.shape)
        assert np.array_equal(row, stepped.u.to_host())


def test_a_bad_member_is_found(host_device):
    start = starts("1-D whole, conservative")
    simulation = make(host_device, "1-D whole, conservative", ALL, start)
    np.asarray(simulation.u.member(2))[0, 10] = np.nan
    with pytest.raises(DivergenceError):
        simulation.advance(steps=3)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: AdvectionDiffusion((0.1, 0.2), ((1.0, 2.0, 3.0),)), "diffusivity 2, velocity 0 3"),
        (lambda: Burgers((0.1, -0.2)), "nu must be a positive number, or one for each member"),
        (lambda: Burgers(()), "nu must be"),
        (lambda: Burgers(((0.1, 0.2), (0.3, 0.4))), "nu must be"),
        (lambda: Burgers((0.1, float("nan"))), "nu must be"),
        (lambda: KuramotoSivashinsky((1.0, 0.0)), "nu must be a positive number"),
    ],
)
def test_parameters_of_the_wrong_length(make, sentence):
    with pytest.raises(ParameterError, match=sentence):
        make()


def test_ensembles_of_the_wrong_size(host_device):
    grid = unit((64,))
    with pytest.raises(ParameterError, match="each of 4 members, got 3; match them"):
        Simulation(host_device, grid, Burgers(NU), members=4)
    with pytest.raises(ParameterError, match="members must be 1 or more, got 0"):
        Simulation(host_device, grid, Burgers(0.1), members=0)
    with pytest.raises(ShapeError, match=r"must have shape \(3, 1, 64\), got \(4, 64\)"):
        Simulation(host_device, grid, Burgers(NU), np.zeros((4, 64)))

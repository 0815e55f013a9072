"""Recording, stepping, hitting times, diverging: what a driver of a simulation relies on."""

import numpy as np
import pytest

import solver.simulation
from solver import (
    Burgers,
    DivergenceError,
    Field,
    Grid,
    ParameterError,
    Recorder,
    ShapeError,
    Simulation,
)
from solver.steppers import method_of

GRID = Grid(points=(64,), extent=((0.0, 2 * np.pi),))
LARGE = Grid(points=(9000,), extent=((0.0, 900.0),))  # too large for many steps in one launch


def make(device, scheme="miniapp", grid=GRID, **options):
    return Simulation(device, grid, Burgers(nu=0.01, scheme=scheme), **options)


@pytest.mark.parametrize("scheme", ["miniapp", "conservative"])
@pytest.mark.parametrize("grid", [GRID, LARGE], ids=["on chip", "in memory"])
def test_many_steps_are_single_steps(device, scheme, grid):
    together, apart = make(device, scheme, grid, dt=1e-3), make(device, scheme, grid, dt=1e-3)
    together.advance(steps=9)
    for moment in apart.steps(steps=9):
        assert moment == apart.moment
    assert (apart.step, apart.time) == (9, pytest.approx(9e-3))
    assert np.array_equal(together.u.to_host(), apart.u.to_host())


@pytest.mark.parametrize("scheme", ["miniapp", "conservative"])
@pytest.mark.parametrize("grid", [GRID, LARGE], ids=["on chip", "in memory"])
def test_a_recorder_gets_every_nth_state(device, scheme, grid):
    recorded, stepped = make(device, scheme, grid, dt=1e-3), make(device, scheme, grid, dt=1e-3)
    recorder = Recorder(3, device.allocate((6, grid.size), "float64"))
    for burst in (2, 5, 1, 9):
        recorded.advance(steps=burst, recorder=recorder)
    states = [stepped.u.to_host()[0] for moment in stepped.steps(steps=17) if moment.step % 3 == 0]
    assert [moment.step for moment in recorder.moments] == [3, 6, 9, 12, 15]
    assert [moment.time for moment in recorder.moments] == pytest.approx(
        [3e-3, 6e-3, 9e-3, 12e-3, 15e-3]
    )
    assert np.array_equal(recorder.into.to_host()[:5], states)
    assert recorder.room == 1 and recorder.steps_until_full(17) == 1
    with pytest.raises(ShapeError, match="room for 1 more"):
        recorded.advance(steps=10, recorder=recorder)


def test_the_state_never_moves(host_device):
    for grid in (GRID, LARGE):
        simulation = make(host_device, grid=grid, dt=1e-3)
        view = np.asarray(simulation.u)
        before = view.copy()
        simulation.advance(steps=3)
        assert np.shares_memory(view, np.asarray(simulation.u))
        assert np.array_equal(view, simulation.u.to_host()) and not np.array_equal(view, before)


def test_until_is_hit_exactly(host_device):
    free = make(host_device, "conservative")
    free.advance(until=0.7)
    assert free.time == pytest.approx(0.7, abs=1e-15)
    fixed = make(host_device, dt=3e-3)
    fixed.advance(until=0.01)
    assert fixed.step == 4 and fixed.time == pytest.approx(0.01, abs=1e-15)
    fixed.advance(until=0.01)
    assert fixed.step == 4
    fixed.advance(until=1.0, steps=2)
    assert fixed.step == 6


def test_steps_yields_every_nth_moment_and_the_last(host_device):
    simulation = make(host_device, dt=1e-3)
    assert [moment.step for moment in simulation.steps(steps=10, every=4)] == [4, 8, 10]


@pytest.mark.parametrize("is_watched", [False, True], ids=["checked", "watched"])
@pytest.mark.parametrize("grid", [GRID, LARGE], ids=["on chip", "in memory"])
def test_divergence_names_the_step_and_keeps_the_finite_part(device, grid, is_watched, monkeypatch):
    monkeypatch.setattr("solver.simulation._WATCHED", 0 if is_watched else 1 << 40)
    euler = method_of("euler")
    dt = 40 * Burgers(nu=0.01, scheme="miniapp").stable_time_step(grid, 1.0, euler)
    simulation = make(
        device, grid=grid, dt=dt, force=True, initial=lambda x: np.sin(x) + 1e-3 * np.cos(17 * x)
    )
    recorder = Recorder(1, device.allocate((200, grid.size), "float64"))
    with np.errstate(all="ignore"), pytest.raises(DivergenceError, match="reduce dt") as caught:
        simulation.advance(steps=200, recorder=recorder)
    error = caught.value
    assert 1 < error.step < 200 and error.time == pytest.approx(error.step * dt)
    assert simulation.step == error.step - 1 == recorder.count
    assert np.isfinite(simulation.u.to_host()).all()
    assert np.array_equal(simulation.u.to_host()[0], recorder.into.to_host()[recorder.count - 1])
    x = grid.coordinates()[0]
    assert error.location[0] in x
    with pytest.raises(DivergenceError) as again:
        simulation.advance(steps=1)
    assert (again.value.step, again.value.location) == (error.step, error.location)


def test_the_step_that_diverges_is_found_by_halves(host_device, monkeypatch):
    dt = 1.02 * Burgers(nu=0.01, scheme="miniapp").stable_time_step(GRID, 1e-6, method_of("euler"))
    simulation = make(host_device, dt=dt, force=True, initial=lambda x: 1e-6 * np.cos(31 * x))
    march, counts = simulation.discretization.march, []
    monkeypatch.setattr(
        simulation.discretization,
        "march",
        lambda u, dt, steps, *rest: counts.append(steps) or march(u, dt, steps, *rest),
    )
    with pytest.raises(DivergenceError) as caught:
        simulation.advance(steps=100_000)
    assert caught.value.step > 100
    assert counts[0] == 100_000 and len(counts) < 40


@pytest.mark.parametrize("before", [0, 5])
@pytest.mark.parametrize("scheme", ["miniapp", "conservative"])
def test_a_nan_from_outside_is_named_as_such(host_device, scheme, before):
    simulation = make(host_device, scheme, dt=1e-3)
    simulation.advance(steps=before)
    good = simulation.u.to_host()
    np.asarray(simulation.u)[0, 20] = np.nan
    with pytest.raises(DivergenceError, match="written from outside") as caught:
        simulation.advance(steps=5)
    x = GRID.coordinates()[0]
    # Before the first step nothing looks at the state: there the bad values have spread when they are found.
    assert caught.value.location[0] == x[20] if before else 0 <= caught.value.location[0] <= x[20]
    assert simulation.step == before
    np.asarray(simulation.u)[0, 20] = good[0, 20]
    np.copyto(np.asarray(simulation.u), good)
    simulation.advance(steps=5)
    assert np.isfinite(simulation.u.to_host()).all() and simulation.step == before + 5


@pytest.mark.parametrize("is_watched", [False, True], ids=["checked", "watched"])
@pytest.mark.parametrize("before", [0, 5])
def test_a_nan_from_outside_leaves_the_time_of_cfl_steps(
    host_device, before, is_watched, monkeypatch
):
    monkeypatch.setattr("solver.simulation._WATCHED", 0 if is_watched else 1 << 40)
    simulation = make(host_device, "conservative", LARGE, cfl=0.5)
    simulation.advance(steps=before)
    time, good = simulation.time, simulation.u.to_host()
    np.asarray(simulation.u)[0, 20] = np.nan
    with pytest.raises(DivergenceError, match="written from outside") as caught:
        simulation.advance(until=time + 1.0)
    assert (caught.value.step, caught.value.time) == (before, time)
    assert caught.value.location == (LARGE.coordinates()[0][20],)
    assert simulation.moment == (before, time)
    np.copyto(np.asarray(simulation.u), good)
    simulation.advance(steps=3)
    assert simulation.step == before + 3 and np.isfinite(simulation.time)


def test_a_recorder_of_cfl_steps_keeps_finite_states_alone(host_device):
    equation = Burgers(nu=0.01, scheme="central", forcing=0.0)
    simulation = Simulation(host_device, GRID, equation, cfl=0.5)
    recorder = Recorder(1, host_device.allocate((100, GRID.size), "float64"))
    simulation.advance(steps=16, recorder=recorder)
    np.asarray(simulation.fields["forcing"])[0, 5] = np.nan
    with pytest.raises(DivergenceError):
        simulation.advance(steps=50, recorder=recorder)
    assert simulation.step == recorder.count == 16
    assert np.isfinite(recorder.into.to_host()[:16]).all()


@pytest.mark.parametrize("grid", [GRID, LARGE], ids=["on chip", "in memory"])
def test_a_state_that_was_long_unchecked_goes_on_by_the_steps_asked_for(host_device, grid):
    """As one of several ranks, which look less often, leaves it to one."""
    here, expected = (make(host_device, grid=grid, dt=1e-3) for _ in range(2))
    before = 3 * solver.simulation._CHECK_WORK // grid.size
    here.restore(
        expected.numbers()
        | {"step": before, "time": before * 1e-3, "run": [0, 0.0, 1e-3], "is_in_run": True}
    )
    here.advance(steps=7)
    expected.advance(steps=7)
    assert (here.step, here.time) == (before + 7, pytest.approx((before + 7) * 1e-3))
    assert np.array_equal(here.u.to_host(), expected.u.to_host())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"dt": -1.0}, "time dt must be a positive number, got -1.0"),
        ({"dt": 1.0}, "at most the stability limit"),
        ({"initial": "waves"}, "initial must be one of"),
        ({"initial": lambda x: np.full_like(x, np.nan)}, "64 are not"),
        ({"dtype": "float16"}, "dtype must be float64 or float32"),
    ],
)
def test_bad_options_are_one_sentence(host_device, options, sentence):
    with pytest.raises((ParameterError, ShapeError), match=sentence):
        make(host_device, **options)


@pytest.mark.parametrize("nu", [0, -1, float("nan"), "much", True])
def test_bad_viscosity(nu):
    with pytest.raises(ParameterError, match="nu must be a positive number"):
        Burgers(nu=nu)


def test_bad_grids_and_shapes(host_device):
    with pytest.raises(ParameterError, match="1 or more, got"):
        Grid(points=(0,), extent=((0.0, 1.0),))
    with pytest.raises(ParameterError, match="end after it starts"):
        Grid(points=(4,), extent=((1.0, 1.0),))
    with pytest.raises(ParameterError, match="at least 3"):
        make(host_device, grid=Grid(points=(2,), extent=((0.0, 1.0),)))
    with pytest.raises(ParameterError, match="scheme must be one of conservative, miniapp"):
        Burgers(nu=0.1, scheme="upwind")
    with pytest.raises(ShapeError, match=r"shape \(1, 64\)"):
        make(host_device, initial=np.zeros(63))
    with pytest.raises(ParameterError, match="needs until"):
        make(host_device).advance()
    with pytest.raises(ParameterError, match="time runs forward"):
        make(host_device).advance(until=-1.0)


def test_a_field_round_trips_and_fills_its_ghosts(device, dtype):
    field = Field(device, GRID, components=2, ghost=3, dtype=dtype)
    values = np.random.default_rng(0).standard_normal((2, 64)).astype(dtype)
    field.set(values)
    assert np.array_equal(field.to_host(), values)
    assert np.array_equal(field.memory.to_host(), np.pad(values, [(0, 0), (3, 3)], mode="wrap"))

"""Several steps in one pass over memory give the bits of single steps, and those agree with a NumPy twin."""

import itertools

import numpy as np
import pytest
from conftest import skip
from helpers import stencil_twin as twin

from solver import (
    AdvectionDiffusion,
    Burgers,
    Device,
    Dirichlet,
    DivergenceError,
    Grid,
    Neumann,
    Periodic,
    Recorder,
    Simulation,
    blocks,
    modes_present,
)
from solver.passes import passes
from solver.recorder import NOTHING
from solver.steppers import METHODS

PERIODIC = (Periodic(), Periodic())
POINTS = {1: (9000,), 2: (37, 29), 3: (14, 11, 19)}
EXTENT = ((0.0, 1.0), (0.0, 1.3), (-0.2, 0.9))
SIDES = {
    "periodic": lambda n: (PERIODIC,) * 3,
    "sides": lambda n: (
        (Dirichlet(0.3), Neumann(-0.5)),
        (Neumann(0.2), Dirichlet(-0.1)),
        (Dirichlet(0.2), Dirichlet(0.4)),
    ),
    "mixed": lambda n: ((Dirichlet(0.1), Dirichlet(0.2)), PERIODIC, (Neumann(), Neumann(1.0))),
}


def grid_of(axes, sides, points=None):
    boundaries = SIDES[sides](axes)[:axes]
    return Grid(points or POINTS[axes], EXTENT[:axes], boundaries)


def rough(grid, components, seed=0):
    return 0.1 * np.random.default_rng(seed).standard_normal((components, *grid.points)) + 0.2


def equations(grid):
    axes = len(grid.points)
    velocity = (0.3, -0.2, 0.1)[:axes]
    field = np.random.default_rng(1).uniform(0.5, 1.5, (axes, *grid.points))
    yield (
        "burgers",
        Burgers(0.02, "central"),
        twin.burgers(grid, 0.02),
        axes,
    )
    yield (
        "forced burgers",
        Burgers(0.02, "central", forcing=field),
        twin.burgers(grid, 0.02, field),
        axes,
    )
    yield (
        "advection-diffusion",
        AdvectionDiffusion(0.02, velocity),
        twin.advection_diffusion(grid, 0.02, velocity),
        1,
    )
    yield (
        "advection-diffusion with fields",
        AdvectionDiffusion(
            forcing=field[0], diffusivity_field=0.02 * field[0], velocity_field=field
        ),
        twin.advection_diffusion(
            grid, forcing=field[0], diffusivity_field=0.02 * field[0], velocity_field=field
        ),
        1,
    )


NAMES = ("burgers", "forced burgers", "advection-diffusion", "advection-diffusion with fields")
SHAPES = [
    (axes, sides)
    for axes, sides in itertools.product(POINTS, SIDES)
    if not (axes == 1 and sides == "mixed")
]
METHOD = itertools.cycle(METHODS)
CASES = [(axes, sides, name, next(METHOD)) for axes, sides in SHAPES for name in NAMES]


def check(device, axes, sides, name, method, points=None):
    grid = grid_of(axes, sides, points)
    equation, rate, components = next(rest for label, *rest in equations(grid) if label == name)
    start = rough(grid, components)
    together, apart = (Simulation(device, grid, equation, start, method=method) for _ in range(2))
    dt = 0.5 * together.limit
    together.take(dt, 11)
    apart.discretization.steps_per_pass = 1
    apart.take(dt, 11)
    u = together.u.to_host()
    assert np.array_equal(u, apart.u.to_host())
    expected = twin.march(rate, start, dt, 11, method)
    assert np.abs(u - expected).max() < 1e-12 * np.abs(expected).max()


@pytest.mark.parametrize(("axes", "sides", "name", "method"), CASES)
def test_many_steps_single_steps_and_the_twin(axes, sides, name, method):
    check(Device.open("Serial"), axes, sides, name, method)


@pytest.mark.parametrize("points", [(37, 48), (30, 1304), (14, 11, 32)])
@pytest.mark.parametrize(
    ("sides", "method"), [("periodic", "euler"), ("sides", "ssp-rk2"), ("mixed", "euler")]
)
def test_the_same_where_rows_fill_whole_vectors(points, sides, method):
    check(Device.open("Serial"), len(points), sides, "forced burgers", method, points)


@pytest.mark.parametrize(
    ("points", "third"),
    [((9000,), 1 << 25), ((37, 48), 1 << 25), ((37, 29), 0), ((14, 11, 32), 0)],
    ids=["line", "plane", "plane past the caches", "volume past the caches"],
)
@pytest.mark.parametrize("steps", [1, 7])
def test_a_bad_value_is_seen_wherever_it_is(monkeypatch, host_device, points, third, steps):
    monkeypatch.setattr("solver.simulation._WATCHED", 0)
    monkeypatch.setattr(blocks, "cache_bytes", lambda n=2: (1 << 20, third)[n - 2])
    grid = grid_of(len(points), "periodic", points)
    simulation = Simulation(
        host_device, grid, Burgers(0.02, "central"), rough(grid, len(points)), method="euler"
    )
    simulation.take(0.1 * simulation.limit, 3)
    for place in np.random.default_rng(3).integers(0, simulation.u.memory.size, 5):
        state = np.asarray(simulation.u).reshape(-1)
        good, state[place] = state[place], np.inf
        with pytest.raises(DivergenceError, match="not at step 3 .* written from outside"):
            simulation.take(0.1 * simulation.limit, steps)
        assert np.argwhere(~np.isfinite(state)).tolist() == [[place]] and simulation.step == 3
        state[place] = good


@pytest.mark.parametrize("most", [1, 2, 5, 64])
def test_passes_end_in_the_state_they_began_with(most):
    for steps in range(1, 130):
        counts = [count for count, _ in passes(steps, NOTHING, most, False)]
        assert sum(counts) == steps and 0 < min(counts) <= max(counts) <= most
        assert len(counts) % 2 == 0 or len(counts) == steps
        assert len(list(passes(steps, NOTHING, most, True))) == -(-steps // most)


@pytest.mark.parametrize(("axes", "sides"), SHAPES)
def test_the_same_with_threads(axes, sides):
    check(Device.open("OpenMP"), axes, sides, "forced burgers", "ssp-rk2")


@pytest.mark.parametrize(
    ("axes", "sides"), [(1, "periodic"), (1, "sides"), (2, "mixed"), (3, "periodic")]
)
def test_the_same_on_devices(axes, sides):
    """In OpenCL; its compiler takes a minute for more stages and sides than these."""
    if "OpenCL" not in modes_present():
        skip("OpenCL", "mode OpenCL is not present")
    method = "ssp-rk2" if axes == 1 else "euler"
    check(Device.open("OpenCL"), axes, sides, "forced burgers", method)


@pytest.mark.parametrize("axes", POINTS)
def test_serial_and_openmp_have_the_same_bits(axes, dtype):
    grid = grid_of(axes, "sides")
    fields = []
    for mode in ("Serial", "OpenMP"):
        simulation = Simulation(
            Device.open(mode), grid, Burgers(0.02, "central"), rough(grid, axes), dtype=dtype
        )
        simulation.take(0.5 * simulation.limit, 9)
        fields.append(simulation.u.to_host())
    assert np.array_equal(*fields)


@pytest.mark.parametrize("axes", POINTS)
@pytest.mark.parametrize("every", [1, 3, 7])
def test_a_recorder_gets_the_states_of_single_steps(device, axes, every):
    device = device if axes < 3 else Device.open("OpenMP")
    grid = grid_of(axes, "periodic")
    equation = Burgers(0.02, "central")
    recorded, stepped = (Simulation(device, grid, equation, rough(grid, axes)) for _ in range(2))
    recorder = Recorder(every, device.allocate((20, recorded.u.memory.size), "float64"))
    dt = 0.5 * recorded.limit
    for burst in (5, 1, 9):
        recorded.take(dt, burst, recorder)
    states = []
    for n in range(1, 16):
        stepped.take(dt, 1)
        if n % every == 0:
            states.append(stepped.u.to_host().ravel())
    assert np.array_equal(recorder.into.to_host()[: len(states)], states)
    assert np.array_equal(recorded.u.to_host(), stepped.u.to_host())


@pytest.mark.parametrize("points", [(3, 3), (5, 600), (600, 5), (3, 4, 5), (40, 3, 70)])
def test_grids_of_any_shape(host_device, points):
    for sides in ("periodic", "sides"):
        grid = grid_of(len(points), sides, points)
        simulation = Simulation(
            host_device, grid, Burgers(0.02, "central"), rough(grid, len(points))
        )
        dt = 0.5 * simulation.limit
        simulation.take(dt, 13)
        expected = twin.march(twin.burgers(grid, 0.02), rough(grid, len(points)), dt, 13, "ssp-rk3")
        assert np.abs(simulation.u.to_host() - expected).max() < 1e-12


@pytest.mark.parametrize("axes", POINTS)
@pytest.mark.parametrize("method", ["euler", "ssp-rk2"])
@pytest.mark.parametrize("steps", [1, 7])
def test_no_cut_into_blocks_changes_a_bit(monkeypatch, axes, method, steps):
    grid = grid_of(axes, "periodic", {1: (20000,), 2: (45, 600), 3: (14, 40, 70)}[axes])
    states = []
    has_helpers = blocks.has_helpers()
    for second, third, helps in (
        (1 << 20, 1 << 25, has_helpers),
        (1 << 14, 1 << 25, False),
        (1 << 20, 0, has_helpers),
    ):
        monkeypatch.setattr(blocks, "has_helpers", lambda helps=helps: helps)
        monkeypatch.setattr(blocks, "cache_bytes", lambda n=2, s=(second, third): s[n - 2])
        for threads in ("2", "3"):
            monkeypatch.setattr(blocks, "thread_count", lambda threads=threads: int(threads))
            simulation = Simulation(
                Device.open("OpenMP"),
                grid,
                Burgers(0.02, "central"),
                rough(grid, axes),
                method=method,
            )
            simulation.take(0.5 * simulation.limit, steps)
            states.append(simulation.u.to_host())
    assert all(np.array_equal(states[0], state) for state in states[1:])

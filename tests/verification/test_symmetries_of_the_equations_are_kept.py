"""What the equations are blind to, the solver is: place, direction, the names of the axes, a moving frame, the mode, the type.

Whole-cell translations keep every bit. Reflections keep every bit of schemes in flux form and of the mini-app, whose operations
mirror; nested multiply-adds take one neighbour before the other and agree to round-off, as do sums over axes in another order.
"""

import numpy as np
import pytest

from solver import AdvectionDiffusion, Burgers, Device, Grid, KuramotoSivashinsky, Simulation

POINTS = {1: (64,), 2: (18, 18), 3: (10, 10, 10)}
STEPS = {1: 60, 2: 9, 3: 9}


class Constant:
    """Advection-diffusion with numbers."""

    is_vector, keeps_mirrored_bits, size = False, False, 1.0

    def __init__(self, axes):
        self.velocity = np.array([0.8, -0.5, 0.3][:axes])

    def equation(self, act):
        return AdvectionDiffusion(0.02, tuple(act(self.velocity, "numbers")))


class Fields(Constant):
    """Advection-diffusion with fields."""

    keeps_mirrored_bits = True

    def __init__(self, axes):
        random = np.random.default_rng(5)
        self.diffusivity = random.uniform(0.01, 0.03, (1, *POINTS[axes]))
        self.flow = random.uniform(-1, 1, (axes, *POINTS[axes]))

    def equation(self, act):
        return AdvectionDiffusion(
            diffusivity_field=act(self.diffusivity, "scalar"),
            velocity_field=act(self.flow, "vector"),
        )


class Central:
    """Burgers, central differences."""

    is_vector, keeps_mirrored_bits, size = True, False, 1.0

    def __init__(self, axes):
        pass

    def equation(self, act):
        return Burgers(0.02, "central")


class Conservative(Central):
    """Burgers in flux form."""

    keeps_mirrored_bits = True

    def equation(self, act):
        return Burgers(1e-5, "conservative")


class Miniapp(Conservative):
    """Burgers as in the mini-app."""

    def equation(self, act):
        return Burgers(0.02, "miniapp")


class Kuramoto(Conservative):
    """Kuramoto-Sivashinsky, whose u changes its sign with the direction; as large as on its attractor."""

    size = 30.0

    def equation(self, act):
        return KuramotoSivashinsky(1e-3)


CASES = [
    *((kind, axes) for kind in (Constant, Fields, Central) for axes in POINTS),
    (Conservative, 1),
    (Miniapp, 1),
    (Kuramoto, 1),
]
IDS = [f"{kind.__name__}-{axes}" for kind, axes in CASES]
every_case = pytest.mark.parametrize(("kind", "axes"), CASES, ids=IDS)


def same(values, kind):
    return values


def moved(values, kind):
    if kind == "numbers":
        return values
    axes = values.ndim - 1
    return np.roll(values, (3, 7, 4)[:axes], tuple(range(1, axes + 1)))


def mirrored(axis):
    def act(values, kind):
        result = values.copy() if kind == "numbers" else np.flip(values, axis + 1).copy()
        if kind != "scalar":
            result[axis] *= -1
        return result

    return act


def swapped(values, kind):
    first_two = [1, 0, *range(2, len(values))]
    if kind == "numbers":
        return values[first_two]
    result = np.swapaxes(values, 1, 2)
    return np.ascontiguousarray(result[first_two] if kind == "vector" else result)


def run(kind, axes, act=same, mode="Serial", dtype="float64"):
    """Return the state after some steps from a rough start, all of it acted upon."""
    case = kind(axes)
    grid = Grid(POINTS[axes], ((0.0, 1.0),) * axes)
    start = np.random.default_rng(2).standard_normal((axes if case.is_vector else 1, *POINTS[axes]))
    start = act(case.size * start, "vector" if case.is_vector else "scalar")
    method = "euler" if kind is Miniapp else "ssp-rk2" if axes > 1 else None
    simulation = Simulation(
        Device.open(mode), grid, case.equation(act), start, dtype=dtype, method=method
    )
    simulation.take(0.25 * simulation.limit, STEPS[axes])
    u = simulation.u.to_host()
    assert np.abs(u - start).max() > 0.01
    return u, "vector" if case.is_vector else "scalar"


@every_case
def test_translation_by_whole_cells_keeps_every_bit(kind, axes):
    u, rank = run(kind, axes)
    assert np.array_equal(run(kind, axes, moved)[0], moved(u, rank))


@every_case
def test_reflection(kind, axes):
    u, rank = run(kind, axes)
    for axis in range(axes):
        act = mirrored(axis)
        if kind.keeps_mirrored_bits:
            assert np.array_equal(run(kind, axes, act)[0], act(u, rank))
        else:
            assert np.abs(run(kind, axes, act)[0] - act(u, rank)).max() < 1e-14 * np.abs(u).max()


@pytest.mark.parametrize(
    ("kind", "axes"), [each for each in CASES if each[1] > 1], ids=IDS[1:3] + IDS[4:6] + IDS[7:9]
)
def test_the_names_of_the_axes_do_not_matter(kind, axes):
    u, rank = run(kind, axes)
    assert np.abs(run(kind, axes, swapped)[0] - swapped(u, rank)).max() < 1e-14 * np.abs(u).max()


@every_case
def test_serial_and_openmp_have_the_same_bits(kind, axes):
    assert np.array_equal(run(kind, axes)[0], run(kind, axes, mode="OpenMP")[0])


@every_case
def test_float32_is_near_float64(kind, axes):
    single, double = (run(kind, axes, dtype=dtype)[0] for dtype in ("float32", "float64"))
    assert single.dtype == np.float32
    assert 0 < np.abs(single - double).max() < 5e-6 * np.abs(double).max()


MOVING = {
    "advection-diffusion": (lambda v: AdvectionDiffusion(0.02, (v,)), 0.0, 256, 1.0, 2e-3),
    "conservative Burgers": (lambda v: Burgers(0.05), 1.0, 256, 0.5, 2e-4),
    "central Burgers": (lambda v: Burgers(0.05, "central"), 1.0, 256, 0.5, 8e-3),
    "Kuramoto-Sivashinsky": (lambda v: KuramotoSivashinsky(), 1.0, 64, 4.0, 2e-3),
}


@pytest.mark.parametrize("name", MOVING)
def test_a_moving_frame_changes_no_more_than_the_truncation_error(name):
    """u(x - Vt) + V solves what u solves; in advection-diffusion V adds to the velocity, and not to u."""
    equation, adds, count, until, bound = MOVING[name]
    length = 22.0 if count == 64 else 2 * np.pi
    grid = Grid((count,), ((0.0, length),))
    cells = count // 4
    speed = cells * grid.spacing[0] / until
    start = np.sin(2 * np.pi * grid.axes()[0] / length) + 0.3 * np.cos(
        4 * np.pi * grid.axes()[0] / length
    )
    states = []
    for v in (0.0, speed):
        simulation = Simulation(Device.open("Serial"), grid, equation(v), start + adds * v)
        simulation.advance(until=until)
        states.append(simulation.u.to_host()[0] - adds * v)
    at_rest, in_motion = states
    assert np.abs(in_motion - np.roll(at_rest, cells)).max() < bound
    assert np.abs(in_motion - at_rest).max() > 0.3

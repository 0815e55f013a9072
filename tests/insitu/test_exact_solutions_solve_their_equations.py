"""Each exact solution satisfies its equation pointwise, by differences of high order in space and time."""

import numpy as np
import pytest

from insitu import exact
from insitu.refinement import _weights, restrict, sides_of
from solver import AdvectionDiffusion, Burgers, Dirichlet, Grid, Neumann, ParameterError, Periodic

TWO_PI = 2 * np.pi
STENCIL = {1: 45 / 60, 2: -9 / 60, 3: 1 / 60}
SECOND = {1: 1.5, 2: -0.15, 3: 1 / 90}


def box(axes, length=TWO_PI):
    return Grid((8,) * axes, ((0.0, length),) * axes)


def advection(axes):
    return AdvectionDiffusion(0.03, (1.0, -0.5, 0.25)[:axes])


PROBLEMS = [
    ("BurgersSin", exact.BurgersSin(), Burgers(0.05), box(1), 0.7),
    ("MergingFronts", exact.MergingFronts(), Burgers(0.01), box(1, 1.0), 0.2),
    ("Fletcher", exact.Fletcher(), Burgers(0.02), box(2, 1.0), 0.2),
    *((f"ColeHopf {d}", exact.ColeHopf(0.7), Burgers(0.3), box(d), 0.4) for d in (1, 2, 3)),
    *((f"Gaussian {d}", exact.Gaussian(0.1), advection(d), box(d, 1.0), 0.2) for d in (1, 2, 3)),
    *((f"Fourier {d}", exact.Fourier([2, 1, 1][:d]), advection(d), box(d), 0.4) for d in (1, 2, 3)),
    *((f"Manufactured {d}", exact.Manufactured(), advection(d), box(d), 0.0) for d in (1, 2, 3)),
    *((f"forced Burgers {d}", exact.Manufactured(), Burgers(0.1), box(d), 0.0) for d in (1, 2)),
]


def shifted(x, axis, by):
    return [each + (by if n == axis else 0.0) for n, each in enumerate(x)]


@pytest.mark.parametrize(
    ("solution", "equation", "grid", "time"),
    [p[1:] for p in PROBLEMS],
    ids=[p[0] for p in PROBLEMS],
)
def test_the_residual_vanishes(solution, equation, grid, time):
    solution.require(equation, grid)
    u, forcing = solution.on(equation, grid), solution.forcing(equation, grid)
    generator = np.random.default_rng(0)
    length = grid.extent[0][1]
    x = [generator.uniform(0, length, 50) for _ in grid.points]
    h = 2e-3 * length
    value = u(*x, time)
    is_burgers = isinstance(equation, Burgers)
    diffusivity = equation.nu if is_burgers else equation.diffusivity
    terms = [
        sum(s * w * u(*x, time + s * n * 1e-3) / 1e-3 for n, w in STENCIL.items() for s in (1, -1))
    ]
    for axis in range(len(x)):
        near = {s * n: u(*shifted(x, axis, s * n * h), time) for n in STENCIL for s in (1, -1)}
        slope = sum(np.sign(n) * STENCIL[abs(n)] * near[n] for n in near) / h
        curvature = (sum(SECOND[abs(n)] * near[n] for n in near) - 49 / 18 * value) / h**2
        speed = value[axis] if is_burgers else equation.velocity[axis]
        terms += [speed * slope, -diffusivity * curvature]
    residual = sum(terms) - (0 if forcing is None else forcing(*x))
    assert value.shape == (equation.components(grid), 50)
    assert np.abs(residual).max() < 1e-6 * max(np.abs(term).max() for term in terms)


def test_bumps_wrap_around_periodic_axes():
    u = exact.Gaussian(0.05, [0.5]).on(AdvectionDiffusion(1e-3, (1.0,)), box(1, 1.0))
    assert u(np.array([0.5]), 1.0)[0, 0] == pytest.approx(0.7453559924999299, rel=1e-12)
    assert u(np.array([0.5]), 2.0)[0, 0] == pytest.approx(0.6201736729460423, rel=1e-12)


def test_fletchers_numbers():
    u = exact.Fletcher().on(Burgers(0.01), box(2, 1.0))
    got = u(np.array([0.1, 0.5]), np.array([0.1, 0.1]), 0.5)
    assert got[:, 0] == pytest.approx([0.543322051482332, 0.956677948517668], rel=1e-14)
    assert got[:, 1] == pytest.approx([0.500352589624155, 0.999647410375845], rel=1e-14)


def test_sides_follow_the_solution():
    pair = ((Dirichlet(), Neumann()), (Periodic(), Periodic()))
    grid = Grid((8, 8), ((0.0, 1.0), (0.0, 1.0)), pair)
    y, time = np.linspace(0, 1, 5), 0.3
    sides = sides_of(grid, lambda x, y, t: np.exp(2 * x)[None] * (1 + t) * np.ones_like(y))
    assert sides[1] == (Periodic(), Periodic())
    assert sides[0][0].value(0 * y, y, time)[0] == pytest.approx(1.3)
    assert sides[0][1].slope(0 * y + 1, y, time)[0] == pytest.approx(2 * np.exp(2) * 1.3, rel=1e-11)


@pytest.mark.parametrize("is_periodic", [True, False])
def test_a_fine_grid_is_restricted_to_order_six(is_periodic):
    sides = None if is_periodic else ((Dirichlet(), Dirichlet()),)
    errors = []
    for n in (16, 32, 64):
        coarse, fine = (Grid((m,), ((0.0, TWO_PI),), sides) for m in (n, 3 * n // 2))
        values = np.sin(fine.axes()[0])[None]
        errors.append(
            np.abs(restrict(Burgers(0.1), values, fine, coarse) - np.sin(coarse.axes()[0])).max()
        )
    assert np.log2(errors[0] / errors[1]) > 5.3 and np.log2(errors[1] / errors[2]) > 5.3


def test_points_that_coincide_are_taken_as_they_are():
    nodes = np.arange(12.0)
    assert np.array_equal(_weights(nodes, nodes[::2], 12.0), np.eye(12)[::2])


@pytest.mark.parametrize(
    ("solution", "equation", "grid", "sentence"),
    [
        (exact.BurgersSin(), advection(1), box(1), "solution of Burgers, got AdvectionDiffusion"),
        (exact.Fletcher(), Burgers(0.1), box(1), "Fletcher has 2 axes"),
        (exact.BurgersSin(), Burgers(0.1), box(1, 3.0), "periodic axes of length 6.28318530718"),
    ],
)
def test_a_solution_of_something_else_is_refused(solution, equation, grid, sentence):
    with pytest.raises(ParameterError, match=sentence):
        solution.require(equation, grid)


def test_parameters_outside_their_range_are_refused():
    with pytest.raises(ParameterError, match="amplitude must lie between 0 and 1, got 1"):
        exact.ColeHopf(1.0)
    with pytest.raises(ParameterError, match="width must be positive, got 0"):
        exact.Gaussian(0.0)
    with pytest.raises(ParameterError, match="one number for each of 2 axes"):
        exact.Fourier([1]).on(advection(2), box(2))

"""The pressure takes the same few iterations on every grid, agrees with a direct solution, and does not depend on threads."""

import numpy as np
import pytest
from helpers.flows import PERIODIC, order
from helpers.navier_stokes_twin import laplacian_matrix

from solver import Device, Grid, ParameterError, SolverError, Wall
from solver.poisson import Poisson

WALLS = (Wall(), Wall())
SIDES = {"periodic": PERIODIC, "walls": WALLS}
MOST = 12  # iterations, required; 5 to 7 are measured


def solve(device, grid, f, dtype="float64", tolerance=1e-8):
    """Return x of A x = f from x = 0, and the solver."""
    poisson = Poisson(device, grid, dtype)
    right, x = device.allocate((grid.size,), dtype), device.allocate((grid.size,), dtype)
    right.copy_from(np.ascontiguousarray(f, dtype).ravel())
    x.copy_from(np.zeros(grid.size, dtype))
    poisson.solve(right, x, tolerance)
    return x.to_host().reshape(grid.points).astype(np.float64), poisson


def box(points, sides, lengths=None):
    lengths = lengths or (1.0,) * len(points)
    return Grid(points, tuple((0.0, length) for length in lengths), tuple(sides))


def noise(grid):
    return np.random.default_rng(1).standard_normal(grid.points)


def apply(x, poisson, grid):
    """A x by shifted copies."""
    result = np.zeros_like(x)
    for axis, is_periodic in enumerate(grid.is_periodic):
        weight = poisson.level.weights[axis - len(grid.points)]
        width = [(int(a == axis), int(a == axis)) for a in range(x.ndim)]
        wide = np.pad(x, width, mode="wrap" if is_periodic else "edge")
        result -= weight * np.diff(wide, 2, axis)
    return result


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize(
    "points", [(64, 64), (128, 128), (512, 512), (32, 32, 32), (64, 64, 64)], ids=str
)
def test_iterations_do_not_grow_with_the_grid(points, sides):
    grid = box(points, (SIDES[sides],) * len(points))
    f = noise(grid)
    x, poisson = solve(Device.open("Serial"), grid, f)
    assert poisson.iterations <= MOST
    residual = f - f.mean() - apply(x, poisson, grid)
    assert np.linalg.norm(residual) <= 1.01e-8 * np.linalg.norm(f)


@pytest.mark.parametrize(
    ("points", "lengths"),
    [
        ((96, 100), (1, 1)),
        ((64, 63), (1, 1)),
        ((64, 128), (50, 1)),
        ((48, 20, 36), (1, 1, 1)),
        ((32, 32, 32), (1, 30, 4)),
    ],
    ids=str,
)
def test_nor_with_odd_factors_or_unequal_spacings(points, lengths):
    for sides in ((PERIODIC, WALLS, WALLS), (WALLS, PERIODIC, PERIODIC)):
        grid = box(points, sides[: len(points)], lengths)
        _, poisson = solve(Device.open("Serial"), grid, noise(grid))
        assert poisson.iterations <= MOST


@pytest.mark.parametrize("points", [(128, 128), (32, 32, 32)], ids=str)
def test_a_cycle_alone_shrinks_the_residual_fivefold(points):
    device = Device.open("Serial")
    grid = box(points, (WALLS,) * len(points))
    poisson = Poisson(device, grid, "float64")
    memory = device.allocate((grid.size,), "float64")
    r = noise(grid)
    r -= r.mean()
    start = np.linalg.norm(r)
    for _ in range(9):
        memory.copy_from(r.ravel())
        scale = 1 / np.abs(r).max()
        poisson.multigrid.cycle(memory, r.mean(), scale)
        x = poisson.multigrid.result.to_host().reshape(points) / scale
        r = r - apply(x, poisson, grid)
    assert (np.linalg.norm(r) / start) ** (1 / 9) < 0.2


@pytest.mark.parametrize(
    ("points", "sides"),
    [((20, 18), (WALLS, PERIODIC)), ((4, 20, 6), (WALLS, PERIODIC, WALLS))],
    ids=str,
)
def test_it_agrees_with_a_direct_solution(device, points, sides):
    grid = box(points, sides, (1.0, 1.3, 0.8)[: len(points)])
    f = noise(grid)
    f -= f.mean()
    x, poisson = solve(device, grid, f, tolerance=1e-12)
    walls = [None if is_periodic else (0, 0) for is_periodic in grid.is_periodic]
    matrix = -(poisson.level.unit**2) * laplacian_matrix(points, walls, grid.spacing)
    truth = (np.linalg.pinv(matrix, rcond=1e-12) @ f.ravel()).reshape(points)
    assert np.abs((x - x.mean()) - truth).max() < 1e-10 * np.abs(truth).max()


@pytest.mark.parametrize("sides", SIDES)
def test_the_solution_is_second_order(sides):
    k, errors, sizes = 2 * np.pi, [], [16, 32, 64, 128]
    for n in sizes:
        grid = box((n, n), (SIDES[sides],) * 2)
        x, y = grid.coordinates()
        truth = np.cos(k * x) * np.cos(2 * k * y)
        poisson_unit = min(grid.spacing)
        p, _ = solve(Device.open("Serial"), grid, poisson_unit**2 * 5 * k**2 * truth)
        errors.append(np.abs(p - p.mean() - truth).max())
    assert 1.9 <= order(sizes, errors) <= 2.3, errors


def test_a_right_hand_side_without_balance_loses_its_mean():
    grid = box((32, 32), (WALLS, WALLS))
    f, device = noise(grid), Device.open("Serial")
    with_mean, _ = solve(device, grid, f + 3)
    without, _ = solve(device, grid, f)
    assert np.abs(with_mean - without).max() < 1e-6 * np.abs(without).max()


def test_nothing_to_solve_takes_no_iteration():
    grid = box((32, 32), (WALLS, WALLS))
    for f in (np.zeros((32, 32)), np.full((32, 32), 2.5)):
        x, poisson = solve(Device.open("Serial"), grid, f)
        assert poisson.iterations == 0 and not x.any()


def test_threads_change_no_bit():
    grid = box((96, 130), (PERIODIC, WALLS))
    f = noise(grid)
    serial, _ = solve(Device.open("Serial"), grid, f)
    threaded, _ = solve(Device.open("OpenMP"), grid, f)
    assert np.array_equal(serial, threaded)


def test_single_precision_ends_at_its_round_off():
    grid = box((256, 256), (WALLS, WALLS))
    f = noise(grid)
    single, poisson = solve(Device.open("Serial"), grid, f, "float32")
    double, _ = solve(Device.open("Serial"), grid, f)
    assert poisson.iterations <= MOST
    assert np.abs(single - double).max() < 1e-4 * np.abs(double).max()


def test_an_extreme_scale_is_no_matter():
    grid = box((64, 64), (WALLS, WALLS))
    f, device = noise(grid), Device.open("Serial")
    x, _ = solve(device, grid, f)
    for scale in (1e-60, 1e60):
        scaled, poisson = solve(device, grid, scale * f)
        assert poisson.iterations <= MOST
        assert np.allclose(scaled, scale * x, rtol=1e-6, atol=1e-9 * scale)


def test_a_grid_that_does_not_halve_is_refused_in_one_sentence():
    with pytest.raises(ParameterError, match=r"halve down to at most 128 points.*\(131, 524\)"):
        Poisson(Device.open("Serial"), box((131, 524), (WALLS, WALLS)), "float64")


def test_values_that_are_not_finite_are_an_error():
    grid = box((32, 32), (WALLS, WALLS))
    f = noise(grid)
    f[3, 4] = np.nan
    with pytest.raises(SolverError, match="the pressure must converge"):
        solve(Device.open("Serial"), grid, f)

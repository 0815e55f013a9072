"""Known exact solutions, at their published values: a Gaussian carried and spread, fronts, an N-wave, Burgers' steepest slope."""

import numpy as np
import pytest
from helpers.burgers_twin import exact
from helpers.orders import observed_order, rms

from solver import AdvectionDiffusion, Burgers, Device, Dirichlet, Grid, Simulation


def solve(grid, equation, initial, until, **options):
    simulation = Simulation(Device.open("Serial"), grid, equation, initial, **options)
    simulation.advance(until=until)
    assert simulation.time == pytest.approx(until, rel=1e-14)
    return simulation.u.to_host()


A, D, WIDTH, MIDDLE = (1.0, -0.5, 0.75), 1e-3, 0.05, 0.5


def gaussian(*arguments, width=WIDTH, diffusivity=D):
    """Source: the solution of the heat equation in a moving frame, summed over its periodic images, L = 1."""
    *x, t = arguments
    square = width**2 + 2 * diffusivity * t
    factors = [
        sum(
            np.exp(-((each - MIDDLE - a * t + m) ** 2) / (2 * square))
            for m in range(-3 - round(abs(a) * t), 4 + round(abs(a) * t))
        )
        * (width / np.sqrt(square))
        for each, a in zip(x, A, strict=False)
    ]
    return np.prod(np.broadcast_arrays(*factors), 0)


@pytest.mark.parametrize(("until", "top"), [(1.0, 0.7453559924999299), (2.0, 0.6201736729460423)])
def test_a_gaussian_goes_round_once_and_twice(until, top):
    assert gaussian(np.array([0.5]), until) == pytest.approx(top, rel=1e-14)
    errors, counts = [], np.array([128, 256, 512])
    for n in counts:
        grid = Grid((int(n),), ((0.0, 1.0),))
        u = solve(grid, AdvectionDiffusion(D, A[:1]), lambda x: gaussian(x, 0.0), until)[0]
        truth = gaussian(grid.axes()[0], until)
        errors.append(rms(u - truth) / rms(truth))
    assert u[n // 2] == pytest.approx(top, rel=2e-3)
    order = observed_order(1 / counts, errors)
    assert 1.9 <= order < 2.2 and errors[-1] < 5e-3, f"order {order:.2f}, errors {errors}"


@pytest.mark.parametrize("axes", [2, 3])
def test_a_gaussian_moves_along_a_diagonal(axes):
    """Wide enough for grids of 16 to 32 points an axis."""
    counts, errors = (16, 24, 32), []

    def wide(*arguments):
        return gaussian(*arguments, width=0.15, diffusivity=0.01)

    for n in counts:
        grid = Grid((n,) * axes, ((0.0, 1.0),) * axes)
        equation = AdvectionDiffusion(0.01, A[:axes])
        u = solve(grid, equation, lambda *x: wide(*x, 0.0), 0.25, method="rk4")[0]
        truth = wide(*grid.coordinates(), 0.25)
        errors.append(rms(u - truth) / rms(truth))
    order = observed_order(1 / np.array(counts), errors)
    assert 1.9 <= order < 2.4 and errors[-1] < 0.05, f"order {order:.2f}, errors {errors}"


def fletcher(x, y, t, reynolds=100.0):
    """Source: Fletcher 1983, doi:10.1002/fld.1650030302."""
    e = 1 / (1 + np.exp(reynolds * (-4 * x + 4 * y - t) / 32))
    return np.stack([0.75 - e / 4, 0.75 + e / 4])


def test_fletchers_coupled_fronts():
    for (x, y), u, v in (
        ((0.1, 0.1), 0.543322051482332, 0.956677948517668),
        ((0.5, 0.1), 0.500352589624155, 0.999647410375845),
    ):
        assert fletcher(x, y, 0.5) == pytest.approx([u, v], rel=1e-14)
    counts, errors = np.array([25, 35, 55]), []
    sides = ((Dirichlet(fletcher), Dirichlet(fletcher)),) * 2
    for n in counts:
        grid = Grid((int(n),) * 2, ((0.0, 1.0),) * 2, sides)
        u = solve(grid, Burgers(0.01), lambda x, y: fletcher(x, y, 0.0), 0.5)
        errors.append(rms(u - fletcher(*grid.coordinates(), 0.5)))
        i, j = n // 10, n // 2  # points at 0.1 and 0.5
        assert grid.axes()[0][j] == pytest.approx(0.5)
        values = {}
        if n % 10 == 5:
            assert grid.axes()[0][i] == pytest.approx(0.1)
            values = {
                (i, i): (0.543322051482332, 0.956677948517668),
                (j, i): (0.500352589624155, 0.999647410375845),
            }
        for (i, j), expected in values.items():
            assert u[:, i, j] == pytest.approx(expected, abs=12 / n**2)
    order = observed_order(1 / counts, errors)
    assert 1.9 <= order < 2.3 and errors[-1] < 1.5e-3, f"order {order:.2f}, errors {errors}"


def merging_fronts(x, t, nu=0.01):
    """Two fronts that become one. Source: Whitham 1974, Linear and Nonlinear Waves, section 4.6."""
    exponents = np.stack(
        [
            -0.05 * (x - 0.5 + 4.95 * t) / nu,
            -0.25 * (x - 0.5 + 0.75 * t) / nu,
            -0.5 * (x - 0.375) / nu,
        ]
    )
    a, b, c = np.exp(exponents - exponents.max(0))
    return ((0.1 * a + 0.5 * b + c) / (a + b + c))[None]


def test_merging_fronts_between_values_that_depend_on_time():
    counts, errors = np.array([100, 200, 400]), []
    sides = ((Dirichlet(merging_fronts), Dirichlet(merging_fronts)),)
    for n in counts:
        grid = Grid((int(n),), ((0.0, 1.0),), sides)
        u = solve(grid, Burgers(0.01, "central"), lambda x: merging_fronts(x, 0.0), 0.5)
        errors.append(rms(u - merging_fronts(grid.axes()[0], 0.5)))
    order = observed_order(1 / counts, errors)
    assert 1.9 <= order < 2.3 and errors[-1] < 1e-3, f"order {order:.2f}, errors {errors}"


def n_wave(x, t, reynolds=1000.0):
    """Source: Maulik, Lusch & Balaprakash 2021, doi:10.1063/5.0039986; the exponents are joined, so that none overflows."""
    ratio = np.sqrt(t + 1) * np.exp(reynolds * x * x / (4 * t + 4) - reynolds / 16)
    return ((x / (t + 1)) / (1 + ratio))[None]


def test_the_n_wave_of_the_pod_lstm_papers():
    counts, errors = np.array([128, 256, 512]), []
    sides = ((Dirichlet(0.0), Dirichlet(n_wave)),)
    for n in counts:
        grid = Grid((int(n),), ((0.0, 1.0),), sides)
        u = solve(grid, Burgers(1e-3, "central"), lambda x: n_wave(x, 0.0), 2.0)
        truth = n_wave(grid.axes()[0], 2.0)
        errors.append(rms(u - truth) / rms(truth))
    order = observed_order(1 / counts, errors)
    assert 1.9 <= order < 2.6 and errors[-1] < 5e-3, f"order {order:.2f}, errors {errors}"


def test_the_steepest_slope_of_basdevant():
    """max|u_x| = 152.00516 at t = 1.6037/pi for u = -sin(pi x), nu = 0.01/pi: the sine wave rescaled by pi."""
    count, until = 2048, 1.6037
    grid = Grid((count,), ((0.0, 2 * np.pi),))
    u = solve(grid, Burgers(0.01), "sin", until)[0]
    assert rms(u - exact(grid.axes()[0], until, 0.01)) < 2e-5
    waves = np.fft.fftfreq(count, 1 / count)
    slope = np.fft.ifft(1j * waves * np.fft.fft(u)).real
    assert np.pi * np.abs(slope).max() == pytest.approx(152.00516, rel=1e-3)

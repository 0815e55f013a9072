"""Second order in space, the method's own order in time, and the numbers others have published."""

import numpy as np
import pytest
from helpers.flows import LENGTH, PERIODIC, Flow, beltrami, order, taylor_green

from solver import Device, Slip, Wall, on_centres, on_faces

NU = 0.05


@pytest.fixture(scope="module")
def serial():
    """Small grids: a team of threads would only wait where cores are busy."""
    return Device.open("Serial")


def test_taylor_green_is_second_order_in_space(serial):
    sizes = [16, 32, 64]
    shift = (0.3, 1.1)
    errors = [
        Flow(serial, (n, n), taylor_green(NU, 0, shift), NU)
        .advance(0.5)
        .error(taylor_green(NU, 0.5, shift))
        for n in sizes
    ]
    assert 1.9 <= order(sizes, errors) <= 2.3, errors


def test_its_pressure_is_second_order(serial):
    """p = −(cos 2x + cos 2y) exp(−4νt)/4, of the last stage's beginning, half a step before the end."""
    sizes, errors, dt = [16, 32, 64], [], 0.01
    for n in sizes:
        flow = Flow(serial, (n, n), taylor_green(NU, 0), NU).advance(3 * dt, 3)
        x, y = flow.grid.coordinates()
        truth = -(np.cos(2 * x) + np.cos(2 * y)) / 4 * np.exp(-4 * NU * 2.5 * dt)
        p = flow.scheme.pressure.to_host()
        errors.append(np.abs(p - p.mean() - truth).max())
    assert 1.9 <= order(sizes, errors) <= 2.3, errors


def test_taylor_green_between_planes_of_symmetry(serial):
    """u_0 = −cos x sin y vanishes at x = ±π/2, u_1 = sin x cos y at y = ±π/2, and neither drags there."""
    sizes, nu = [16, 32, 64], 0.05
    extent = ((-np.pi / 2, np.pi / 2),) * 2
    errors = [
        Flow(serial, (n, n), taylor_green(nu, 0), nu, ((Slip(), Slip()),) * 2, extent)
        .advance(0.5)
        .error(taylor_green(nu, 0.5))
        for n in sizes
    ]
    assert 1.9 <= order(sizes, errors) <= 2.3, errors


@pytest.mark.parametrize(("method", "least"), [("ssp-rk2", 1.9), ("ssp-rk3", 2.8)])
def test_time_keeps_the_order_of_its_method(serial, method, least):
    """Against the same grid with much smaller steps, in a flow that is not steady but for decay."""

    def initial(x, y):
        return np.sin(y) + 0.5 * np.sin(2 * y + 1), np.sin(x) - 0.3 * np.cos(2 * x)

    def at_one(steps, method=method):
        flow = Flow(serial, (16, 16), initial, 0.02, method=method, tolerance=1e-13)
        return flow.advance(1.0, steps).values

    truth = at_one(400, "ssp-rk3")
    steps = np.array([10, 20, 40])
    errors = [np.abs(at_one(n) - truth).max() for n in steps]
    assert order(steps, errors) >= least, errors


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_plane_flow_in_three_dimensions_is_the_plane_flow(serial, axis):
    """Extruded along each axis in turn."""
    plane, nu = [a for a in range(3) if a != axis], 0.05

    def extruded(time):
        def velocity(*x):
            values = [0 * x[0]] * 3
            flow = taylor_green(nu, time)(*(x[a] for a in plane))
            values[plane[0]], values[plane[1]] = flow
            return values

        return velocity

    points = [20, 20, 20]
    points[axis] = 6
    flow = Flow(serial, tuple(points), extruded(0), nu).advance(0.5, 20)
    flat = Flow(serial, (20, 20), taylor_green(nu, 0), nu).advance(0.5, 20)
    values = np.moveaxis(flow.values, 1 + axis, 1)
    assert np.abs(values[plane] - flat.values[:, None]).max() < 1e-9
    assert np.abs(values[axis]).max() < 1e-9


def test_beltrami_flow_is_second_order(serial):
    sizes = [8, 16, 32]
    errors = [
        Flow(serial, (n, n, n), beltrami(NU, 0), NU).advance(0.5, 10).error(beltrami(NU, 0.5))
        for n in sizes
    ]
    assert 1.9 <= order(sizes, errors) <= 2.3, errors


def test_taylor_green_in_three_dimensions_dissipates_three_quarters_nu(serial):
    def initial(x, y, z):
        return (
            np.sin(x) * np.cos(y) * np.cos(z),
            -np.cos(x) * np.sin(y) * np.cos(z),
            0 * x,
        )

    nu, dt = 1 / 100, 1e-3
    flow = Flow(serial, (48,) * 3, initial, nu)
    energies = [0.5 * (flow.values**2).mean(axis=(1, 2, 3)).sum()]
    for _ in range(2):
        flow.scheme.step(flow.u, dt)
        energies.append(0.5 * (flow.values**2).mean(axis=(1, 2, 3)).sum())
    slope = (-3 * energies[0] + 4 * energies[1] - energies[2]) / (2 * dt)
    assert energies[0] == pytest.approx(1 / 8, rel=1e-12)
    assert -slope == pytest.approx(0.75 * nu, rel=3e-3)


@pytest.mark.parametrize("normal", [0, 1])
def test_couette_flow_is_exact(serial, normal):
    along = 1 - normal
    velocity = [0.0, 0.0]
    velocity[along] = 1.0
    sides = [PERIODIC, PERIODIC]
    sides[normal] = (Wall(), Wall(tuple(velocity)))
    points = [8, 8]

    def still(x, y):
        return 0 * x, 0 * y

    flow = Flow(serial, tuple(points), still, 1.0, tuple(sides), ((0.0, 1.0),) * 2).advance(4.0)
    y = flow.grid.coordinates()[normal]
    assert np.abs(flow.values[along] - y).max() < 1e-12


def test_poiseuille_flow_has_the_error_of_its_wall_and_no_other(serial):
    """The discrete solution is the parabola plus GΔy²/8ν: the mirrored wall value makes the first half cell linear."""
    nu, push, errors, sizes = 0.5, 2.0, [], [8, 16, 32]
    for n in sizes:
        sides = (PERIODIC, (Wall(), Wall()))
        extent = ((0.0, 1.0), (0.0, 1.0))
        flow = Flow(
            serial,
            (4, n),
            lambda x, y: (push / (2 * nu) * y * (1 - y), 0 * y),
            nu,
            sides,
            extent,
            forcing=(push, 0.0),
        ).advance(2.0)
        y = flow.grid.coordinates()[1]
        parabola = push / (2 * nu) * y * (1 - y)
        expected = push / (8 * nu * n**2)
        assert np.abs(flow.values[0] - parabola - expected).max() < 2e-3 * expected
        errors.append(np.abs(flow.values[0] - parabola).max())
    assert order(sizes, errors) == pytest.approx(2, abs=0.01)


def shear_layer(x, y):
    return np.where(y <= 0.5, np.tanh(30 * (y - 0.25)), np.tanh(30 * (0.75 - y))), 0.05 * np.sin(
        2 * np.pi * x
    )


def test_the_double_shear_layer_converges_to_its_reference(serial):
    """Brown & Minion 1995, doi:10.1006/jcph.1995.1205; values at t = 1 of tests elsewhere, spectral."""
    reference = np.array([0.3791331834, 20.876190107, 18.566255569])
    errors = []
    for n in (64, 128):
        flow = Flow(serial, (n, n), shear_layer, 1e-3, extent=((0.0, 1.0),) * 2)
        u = flow.advance(1.0, speed=1.1, safety=0.8).values
        vorticity = n * (u[1] - np.roll(u[1], 1, 0)) - n * (u[0] - np.roll(u[0], 1, 1))
        found = [0.5 * (u**2).sum() / n**2, 0.5 * (vorticity**2).mean(), np.abs(vorticity).max()]
        errors.append(np.abs(found / reference - 1))
    assert np.all(errors[1] < [2e-4, 1e-3, 1e-2])
    assert np.all(errors[0] > 3 * errors[1])


def test_the_lid_driven_cavity_is_near_its_reference(serial):
    """Re = 100 on a coarse grid; within 1 % at 128², see benchmarks. Source: Ghia, Ghia & Shin 1982; Botella & Peyret 1998."""
    n = 32
    sides = ((Wall(), Wall()), (Wall(), Wall((1.0, 0.0))))

    def still(x, y):
        return 0 * x, 0 * y

    flow = Flow(serial, (n, n), still, 0.01, sides, ((0.0, 1.0),) * 2).advance(20, safety=0.9)
    u, v = flow.values[0][n // 2], flow.values[1][:, n // 2]
    found = [u.min(), v.max(), v.min()]
    assert np.allclose(found, [-0.21404, 0.1795728, -0.2538030], rtol=0.03)


def test_centres_take_the_mean_of_their_faces():
    flow = Flow(Device.open("OpenMP"), (8, 10), taylor_green(NU, 0), NU)
    x, y = flow.grid.coordinates()
    centred = on_centres(on_faces(flow.grid, lambda x, y: (np.sin(x), np.cos(y))))
    assert np.allclose(centred[0], np.sin(x) * np.cos(LENGTH / 16))
    assert np.allclose(centred[1], np.cos(y) * np.cos(LENGTH / 20))

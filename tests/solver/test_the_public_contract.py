"""The lines of the public contract, as a user would type them."""

import math

import numpy as np
import pytest

import insitu
import solver


def test_a_kernel_by_its_shipped_name(device):
    a = device.allocate((100,), "float64")
    b = device.allocate((100,), "float64")
    a.copy_from(np.arange(100.0))
    b.copy_from(np.ones(100))
    kernel = device.build("axpy.okl", "axpy", defines={"BLOCK": 256})
    kernel(100, 2.0, a, b)
    device.finish()
    assert np.array_equal(b.to_host(), 1 + 2 * np.arange(100.0))


def test_a_float_kernel_by_a_define(device):
    a = device.allocate((4,), "float32")
    a.copy_from(np.ones(4, np.float32))
    kernel = device.build("axpy.okl", "axpy", defines={"dfloat": "float"})
    kernel(4, 1.5, a, a)
    device.finish()
    assert np.array_equal(a.to_host(), np.full(4, 2.5, np.float32))


def test_a_simulation_in_three_lines(host_device):
    grid = solver.Grid(points=(512,), extent=((0.0, 2 * math.pi),))
    simulation = solver.Simulation(
        host_device, grid, solver.Burgers(nu=0.01), initial=lambda x: np.sin(x)
    )
    simulation.advance(until=1.0)
    view = insitu.as_numpy(simulation.u)
    assert view.shape == (1, 512) and simulation.time == pytest.approx(1.0)
    assert 0.9 < np.abs(view).max() < 1.0


@pytest.mark.parametrize("points", [(300,), (9000,), (20, 30), (8, 9, 10)])
@pytest.mark.parametrize("members", [None, 3])
def test_the_state_is_members_components_and_points_without_ghosts(host_device, points, members):
    grid = solver.Grid(points, ((0.0, 2 * math.pi),) * len(points))
    simulation = solver.Simulation(host_device, grid, solver.Burgers(nu=0.01), members=members)
    shape = (() if members is None else (members,)) + (len(points), *points)
    assert simulation.u.shape == simulation.u.memory.shape == shape
    view = insitu.as_numpy(simulation.u)
    assert view.shape == shape and view.flags.c_contiguous
    simulation.advance(steps=3)
    assert np.array_equal(view, simulation.u.to_host())
    if members:
        assert np.array_equal(simulation.u.member(1).to_host(), view[1])

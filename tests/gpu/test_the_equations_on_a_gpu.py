"""The explicit equations and Navier-Stokes on a GPU: many steps a pass are single steps, and the host's answer to round-off."""

import numpy as np
import pytest

from solver import (
    AdvectionDiffusion,
    Burgers,
    Device,
    Dirichlet,
    Grid,
    KuramotoSivashinsky,
    NavierStokes,
    Neumann,
    Simulation,
)

pytestmark = pytest.mark.gpu
SIDES = (Dirichlet(0.3), Neumann(-0.5))
CASES = {
    "a line on chip": ((256,), None, lambda: Burgers(0.02, "miniapp")),
    "conservative": ((700,), None, lambda: Burgers(0.02)),
    "tiles of a line": ((9000,), None, lambda: Burgers(0.02, "central", forcing=0.5)),
    "a line with sides": ((9000,), (SIDES,), lambda: Burgers(0.02, "central")),
    "waves": ((64,), None, lambda: KuramotoSivashinsky()),
    "an ensemble": ((256,), None, lambda: Burgers((0.02, 0.03, 0.04), "central")),
    "a plane": ((130, 300), None, lambda: Burgers(0.02, "central", forcing=0.5)),
    "a plane with sides": ((130, 300), (SIDES, SIDES), lambda: Burgers(0.02, "central")),
    "a volume": ((40, 50, 70), None, lambda: AdvectionDiffusion(0.02, (0.3, 0.2, 0.1))),
    "a volume with sides": ((40, 50, 70), (SIDES,) * 3, lambda: AdvectionDiffusion(0.02)),
}


def rough(grid, components):
    return 0.1 * np.random.default_rng(0).standard_normal((components, *grid.points)) + 0.2


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("method", ["euler", "ssp-rk3"])
def test_many_steps_are_single_steps_and_the_hosts(gpu_device, name, method):
    points, sides, make = CASES[name]
    grid = Grid(points, ((0.0, 22.0 if name == "waves" else 1.0),) * len(points), sides)
    start = rough(grid, make().components(grid))
    together, apart, host = (
        Simulation(device, grid, make(), start, method=method)
        for device in (gpu_device, gpu_device, Device.open("Serial"))
    )
    dt = 0.5 * together.limit
    together.take(dt, 11)
    for _ in range(11):
        apart.take(dt, 1)
    host.take(dt, 11)
    u, expected = together.u.to_host(), host.u.to_host()
    assert np.array_equal(u, apart.u.to_host())
    assert np.abs(u - expected).max() < 1e-12 * np.abs(expected).max()


@pytest.mark.parametrize("points", [(64, 96), (24, 32, 20)])
def test_a_flow_is_the_hosts(gpu_device, points):
    grid = Grid(points, ((0.0, 2 * np.pi),) * len(points))
    flows = [
        Simulation(device, grid, NavierStokes(0.01), "sin", dt=1e-2)
        for device in (gpu_device, Device.open("Serial"))
    ]
    for flow in flows:
        flow.advance(steps=5)
    assert np.abs(flows[0].u.to_host() - flows[1].u.to_host()).max() < 1e-7
    assert flows[0].discretization.divergence(flows[0].u) < 1e-6

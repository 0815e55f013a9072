"""A step of the staggered scheme is what its NumPy twin computes, for any mixture of sides."""

import numpy as np
import pytest
from helpers.flows import PERIODIC, Flow
from helpers.navier_stokes_twin import Twin

from solver import Device, Recorder, Wall
from solver.recorder import Recording
from solver.steppers import METHODS

PERIODICS = (PERIODIC, PERIODIC)
MOVING = (Wall((0.0, 0.7)), Wall((0.0, -0.4)))
CASES = {
    "periodic": ((8, 12), (PERIODIC, PERIODIC)),
    "channel": ((8, 12), (MOVING, PERIODIC)),
    "other channel": ((12, 8), (PERIODIC, (Wall((0.3, 0.0)), Wall()))),
    "cavity": ((18, 20), ((Wall(), Wall()), (Wall(), Wall((1.0, 0.0))))),
    "periodic 3-D": ((4, 6, 8), (PERIODIC,) * 3),
    "duct": ((6, 4, 5), ((Wall((0.0, 0.5, 0.2)), Wall()), PERIODIC, (Wall(), Wall((0.3, -1, 0))))),
    "box": (
        (4, 6, 5),
        (
            (Wall((0.0, 0.5, 0.2)), Wall((0.0, -0.5, 0.1))),
            (Wall((0.3, 0.0, 0.2)), Wall((-1.0, 0.0, 2.0))),
            (Wall((0.1, 0.2, 0.0)), Wall((0.3, -1.0, 0.0))),
        ),
    ),
}


def compare(device, case, method="ssp-rk3", steps=3, **options):
    points, sides = CASES[case]
    axes = len(points)
    extent = ((0.0, 1.0), (0.5, 2.0), (-1.0, 0.2))[:axes]
    values = np.random.default_rng(3).standard_normal((axes, *points))
    walls = [
        None if pair is PERIODIC else tuple(side.velocity or (0.0,) * axes for side in pair)
        for pair in sides
    ]
    for axis, pair in enumerate(walls):
        if pair is not None:
            np.moveaxis(values[axis], axis, 0)[0] = 0
    flow = Flow(
        device, points, values, 0.03, sides, extent, method=method, tolerance=1e-13, **options
    )
    forcing = np.reshape(options.get("forcing", (0.0,) * axes), (axes,) + (1,) * axes)
    twin = Twin(points, walls, flow.grid.spacing, 0.03, forcing)
    u = twin.project(values)
    assert np.abs(flow.values - u).max() < 1e-10
    for _ in range(steps):
        flow.scheme.step(flow.u, 0.004)
        u = twin.step(u, 0.004, method=METHODS[method])
    return np.abs(flow.values - u).max()


@pytest.mark.parametrize("case", CASES)
def test_three_steps_agree(case):
    assert compare(Device.open("Serial"), case) < 1e-10


def test_with_forcing_in_every_mode(device):
    assert compare(device, "duct", forcing=(0.4, -1.5, 2.0)) < 1e-10


@pytest.mark.parametrize("method", METHODS)
def test_every_method(method):
    assert compare(Device.open("Serial"), "channel", method) < 1e-10


def test_forcing_in_memory_is_read_at_every_step():
    device = Device.open("Serial")
    flow = Flow(device, (16, 16), lambda x, y: (0 * x, 0 * y), 0.1, forcing=(0.0, 0.0))
    push = np.zeros((2, 16, 16))
    push[0] = 2.0
    flow.scheme.fields["forcing"].copy_from(push)
    flow.scheme.step(flow.u, 0.01)
    assert np.allclose(flow.values[0], 0.02, atol=1e-15) and not flow.values[1].any()


def test_a_march_is_its_steps_and_records_on_the_way():
    device = Device.open("Serial")
    flows = [
        Flow(device, (16, 12), lambda x, y: (np.sin(y), np.cos(x)), 0.1, PERIODICS) for _ in "ab"
    ]
    size = flows[0].u.memory.size
    rows = device.allocate((3, size), "float64")
    recorder = Recorder(2, rows)
    recording = recorder.plan(0, 5)
    assert isinstance(recording, Recording)
    flows[0].scheme.march(flows[0].u, 0.02, 5, recording)
    states = []
    for _ in range(5):
        flows[1].scheme.step(flows[1].u, 0.02)
        states.append(flows[1].values.ravel())
    assert np.array_equal(rows.to_host()[:2], [states[1], states[3]])
    assert np.array_equal(flows[0].values.ravel(), states[4])

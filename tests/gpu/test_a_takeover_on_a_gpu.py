"""Takeovers and closures on a GPU decide and compute as on the host, and no field leaves the device."""

import numpy as np
import pytest
import torch
from helpers.propagators import LINE, POINTS, propagator, start

from insitu import on_stream
from insitu.bridge import torch_device
from insitu.closure import Closure
from insitu.takeover import Control, Takeover
from solver import Burgers, Device, Simulation

pytestmark = pytest.mark.gpu


def taken_over(device, factor):
    simulation = start(device)
    surrogate = propagator(factor).to(torch_device(device))
    takeover = Takeover(simulation, surrogate, Control(1e-2))
    before = dict(device.transfers)
    with on_stream(device):
        takeover.advance(until=0.5)
    moved = {name: device.transfers[name] - before[name] for name in before}
    return simulation.u.to_host(), takeover.decisions, moved


@pytest.mark.parametrize("factor", [1.0, 1.003])
def test_decisions_and_state_are_the_hosts(gpu_device, factor):
    (found, log, moved), (truth, host_log, _) = (
        taken_over(device, factor) for device in (gpu_device, Device.open("Serial"))
    )
    assert [(entry.kind, entry.step) for entry in log.entries] == [
        (entry.kind, entry.step) for entry in host_log.entries
    ]
    assert np.abs(found - truth).max() < 1e-10 and log.steps("accepted") > 300
    assert max(moved.values()) < 10 * POINTS * 8  # numbers of decisions and checks, not 30 fields


@pytest.mark.parametrize("factor", [0.0, 0.5])
def test_a_closure_is_the_hosts(gpu_device, factor):
    found = []
    for device in (gpu_device, Device.open("Serial")):
        equation = Burgers(0.05, "central", forcing=0.0)
        simulation = Simulation(device, LINE, equation, "sin", dt=1e-4)
        model = torch.nn.Conv1d(1, 1, 1, bias=False).double().to(torch_device(device))
        torch.nn.init.constant_(model.weight, factor)
        with on_stream(device):
            Closure(simulation, model).advance(steps=20)
        found.append(simulation.u.to_host())
    assert np.abs(found[0] - found[1]).max() < 1e-12

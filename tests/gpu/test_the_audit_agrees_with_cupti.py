"""On a GPU the ledger's totals are those that the driver's own tracer, CUPTI behind torch's profiler, has seen."""

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

import insitu
from insitu import as_cupy, as_torch, on_stream
from insitu.audit import Audit, HostTransferError
from solver import Burgers, Grid, Simulation

pytestmark = pytest.mark.gpu

GRID = Grid((4096,), ((0.0, 6.283185307),))
BYTES = 4096 * 8


def flow_on(device):
    flow = Simulation(device, GRID, Burgers(0.05, "central", forcing=0.1))
    flow.advance(steps=1)
    return flow


def traced(act):
    """Return what the audit and what CUPTI saw, bytes by direction."""
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as tracer:
        with Audit() as audit:
            act()
        torch.cuda.synchronize()
    seen = {"host_to_device": 0, "device_to_host": 0}
    for event in tracer.profiler.kineto_results.events():
        for name, direction in (("HtoD", "host_to_device"), ("DtoH", "device_to_host")):
            if event.name().startswith("Memcpy") and name in event.name():
                seen[direction] += event.nbytes()
    return {name: audit.bytes(name) for name in seen}, seen


def by_torch(flow):
    u = as_torch(flow.u)
    u.cpu(), u[0, 0].item(), u[0, :7].tolist(), float(u.sum())
    u.copy_(torch.zeros(1, 4096, dtype=torch.float64))
    u[:, [0, 3]].cpu()
    torch.tensor([1.0, 2.0], device=u.device)
    u[0, ::2].cpu(), u.to("cpu", torch.float32)


def by_the_solver(flow):
    flow.u.to_host()
    flow.u.set(np.zeros((1, 4096)))
    flow.advance(steps=10)


def by_cupy(flow):
    pytest.importorskip("cupy")
    array = as_cupy(flow.u)
    array.get(), array.tolist(), float(array[0, 0])
    array.set(np.zeros((1, 4096)))


@pytest.mark.parametrize("act", [by_torch, by_the_solver, by_cupy])
def test_the_totals_are_those_of_cupti(gpu_device, act):
    flow = flow_on(gpu_device)
    act(flow)  # what is made once, such as libraries' tables, is made now
    ledger, tracer = traced(lambda: act(flow))
    assert ledger == tracer and min(ledger.values()) > 0


def test_cupti_sees_no_copy_in_a_block_that_refuses_them(gpu_device):
    flow = flow_on(gpu_device)

    def step():
        with insitu.no_host_transfer(), on_stream(gpu_device):
            for _ in range(1000):
                as_torch(flow.fields["forcing"]).mul_(0.999)
                flow.take(1e-5, 1)

    ledger, tracer = traced(step)
    assert ledger == tracer == {"host_to_device": 0, "device_to_host": 0}


@pytest.mark.parametrize(
    "act",
    [
        lambda u: u.cpu(),
        lambda u: u[0, 0].item(),
        lambda u: repr(u),
        lambda u: u.tolist(),
        lambda u: bool(u[0, 0] > 0),
        lambda u: u.copy_(torch.zeros(1, 4096, dtype=torch.float64)),
        lambda u: u[0, [0, 3]],
    ],
)
def test_a_copy_by_torch_is_refused(gpu_device, act):
    u = as_torch(flow_on(gpu_device).u)
    with pytest.raises(HostTransferError, match=__file__), insitu.no_host_transfer():
        act(u)


@pytest.mark.parametrize(
    "act",
    [
        lambda a: a.get(),
        lambda a: a.tolist(),
        lambda a: float(a[0, 0]),
        lambda a: a.set(np.zeros((1, 4096))),
        lambda a: repr(a),
    ],
)
def test_a_copy_by_cupy_is_refused(gpu_device, act):
    pytest.importorskip("cupy")
    array = as_cupy(flow_on(gpu_device).u)
    with pytest.raises(HostTransferError, match=__file__), insitu.no_host_transfer():
        act(array)


def test_a_wait_of_torch_is_counted(gpu_device):
    with Audit() as audit:
        torch.cuda.synchronize()
        gpu_device.finish()
    assert sum(line.synchronizations for line in audit.lines) == 2

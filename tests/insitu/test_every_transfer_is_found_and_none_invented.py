"""The audit finds every transfer with its bytes and its line, refuses it before it happens, and sees none where there is none."""

import array
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.torch_transfers import CLEAN, WAYS
from mpi4py import MPI

import insitu
import solver
from insitu.audit import Audit, HostTransferError, Line
from insitu.sampler import Sampler
from solver.messages import Gathering, Messages

N = 64
TESTS = Path(__file__).parent.parent


def simulation(device):
    grid = solver.Grid((N,), ((0.0, 6.0),))
    equation = solver.Burgers(0.05, "central", forcing=1e-3)
    return solver.Simulation(device, grid, equation, dt=1e-3)


def by_messages(flow):
    messages = Messages(flow.device, MPI.COMM_SELF, "float64", {0: 5}, {0: 5})
    messages.start()
    messages.finish()


def by_gathering(flow):
    Gathering(flow.device, MPI.COMM_SELF, "float64", [7]).exchange()


SOLVER_WAYS = {  # name: (what is done, bytes to the host, bytes to the device)
    "memory to_host": (lambda s: s.u.memory.to_host(), 512, 0),
    "a slice to_host": (lambda s: s.u.memory[0, 3:8].to_host(), 40, 0),
    "a strided slice to_host": (lambda s: s.u.memory[:, 0:9:2].to_host(), 72, 0),
    "field to_host": (lambda s: s.u.to_host(), 512, 0),
    "copy_to": (lambda s: s.u.memory.copy_to(np.empty(N)), 512, 0),
    "copy_to pinned memory": (lambda s: s.u.memory.copy_to(s.device.host_buffer(N)), 512, 0),
    "copy_from an array": (lambda s: s.u.memory.copy_from(np.zeros(N)), 0, 512),
    "copy_from a buffer": (lambda s: s.u.memory[0, :2].copy_from(array.array("d", [1, 2])), 0, 16),
    "field set": (lambda s: s.u.set(np.zeros((1, N))), 0, 512),
    "a forcing from the host": (lambda s: s.fields["forcing"].copy_from(np.zeros(N)), 0, 512),
    "there and back": (lambda s: s.u.set(np.sin(s.u.to_host())), 512, 512),
}
STAGED_WAYS = {"messages": (by_messages, 40, 40), "gathering": (by_gathering, 56, 56)}


def crossed(audit, direction):
    host = [line.bytes for line in audit.lines if line.direction == "within_host"]
    return sum(host) if host else audit.bytes(direction)


@pytest.mark.parametrize("way", [*SOLVER_WAYS, *STAGED_WAYS])
def test_a_transfer_of_the_solver_is_found_and_refused(device, way):
    act, out, back = {**SOLVER_WAYS, **STAGED_WAYS}[way]
    if way in STAGED_WAYS and device.is_host:
        out = back = 0  # MPI takes the host's memory as it is
    flow, before = simulation(device), device.transfers
    with Audit() as audit:
        act(flow)
    moved = {key: count - before[key] for key, count in device.transfers.items()}
    assert audit.field_bytes == out + back
    if device.is_host:
        assert audit.bytes("within_host") == out + back
        assert moved["copies"] == sum(line.count for line in audit.lines)
    else:
        assert (audit.bytes("device_to_host"), audit.bytes("host_to_device")) == (out, back)
        assert (moved["device_to_host"], moved["host_to_device"]) == (out, back)
        assert moved["synchronizations"] == sum(line.synchronizations for line in audit.lines)
    assert all(line.where.startswith(__file__) for line in audit.lines)
    if out + back:
        before = device.transfers
        refused = pytest.raises(HostTransferError, match="nothing may pass .* got [0-9]+ bytes")
        with refused, insitu.no_host_transfer():
            act(flow)
        assert device.transfers == before


@pytest.fixture(scope="module")
def seeded():
    """What became of each of torch's ways on a device apart from the host, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
    command = [sys.executable, "-m", "helpers.torch_transfers"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("way", WAYS)
def test_a_transfer_of_torch_is_found_and_refused(seeded, way):
    result, expected = seeded[way], WAYS[way][1]
    assert result["audit"] == result["device"] == (expected or result["device"]) != {}
    assert all("/helpers/" in where for where in result["where"])
    assert "nothing may pass" in result["refused"] and "/helpers/" in result["refused"]
    assert result["moved in spite of it"] == {}


@pytest.mark.parametrize("way", CLEAN)
def test_what_stays_where_it_is_is_not_refused(seeded, way):
    assert seeded[way]["audit"] == CLEAN[way][1]
    assert seeded[way]["device"] == {} and seeded[way]["refused"] is None


def test_staging_for_mpi_is_told_as_such(seeded):
    refused = seeded["staged for MPI"]["refused"]
    assert "insitu.collectives._buffer" in refused and "INSITU_GPU_AWARE_MPI" in refused


def test_at_least_25_ways_are_seeded():
    assert len(WAYS) + len(SOLVER_WAYS) + len(STAGED_WAYS) >= 25


def test_none_is_invented_in_1000_steps_of_torch(seeded):
    assert seeded["clean steps"] == {"bytes": 0, "crossings": []}


def test_none_is_invented_in_1000_steps(device):
    flow = simulation(device)
    flow.advance(steps=1)  # the coefficients of the time step are the device's from here on
    sampler = Sampler(device, N, 50)
    before = device.transfers
    with insitu.no_host_transfer() as audit:
        for _ in sampler.follow(flow, steps=600):
            pass
        for _ in flow.steps(steps=400):
            if device.is_host:
                insitu.as_torch(flow.fields["forcing"]).mul_(0.9)
                sampler.take(insitu.as_torch(flow.u), flow.moment)
    moved = {key: count - before[key] for key, count in device.transfers.items()}
    assert flow.step == 1001 and audit.field_bytes == 0
    assert audit.bytes("device_to_host") == moved["device_to_host"]
    assert not [line for line in audit.lines if line.passes_host]


def test_a_view_is_free_and_a_clone_is_a_copy_on_the_device(host_device):
    flow = simulation(host_device)
    with insitu.no_host_transfer() as audit:
        view = insitu.as_torch(flow.u)
        assert view.numpy().base is not None and insitu.as_numpy(flow.u).shape == (1, N)
        assert np.asarray(flow.u.memory).shape == (1, N)
        view[0, 0].item()
        view.tolist()
        assert audit.lines == []
        view.clone()
    assert [(line.direction, line.bytes) for line in audit.lines] == [("device_to_device", 512)]


def test_device_memory_becomes_no_numpy_array_by_itself(device):
    if device.is_host:
        pytest.skip("host memory is a NumPy array by itself")
    flow = simulation(device)
    with insitu.no_host_transfer(), pytest.raises(TypeError, match="to_host"):
        np.asarray(flow.u.memory)


def test_equal_transfers_are_one_line(device):
    flow = simulation(device)
    with Audit() as audit:
        for _ in range(3):
            flow.u.to_host()
    (line,) = audit.lines
    assert (line.count, line.bytes, line.kind) == (3, 3 * 512, "field")
    assert line.who.endswith("test_equal_transfers_are_one_line")
    assert line.operation == "Memory.to_host"
    assert audit.table() == str(line) and "1536 bytes" in str(line)


def test_the_refusal_names_who_where_and_what_to_do(device):
    flow = simulation(device)
    with pytest.raises(HostTransferError) as caught, insitu.no_host_transfer():
        flow.u.to_host()
    line = caught.tb.tb_lineno
    text = str(caught.value)
    assert f"{__file__}:{line}" in text and "512 bytes" in text and "as_torch" in text
    assert "test_the_refusal_names_who_where_and_what_to_do" in text and "\n" not in text


def test_small_transfers_may_be_allowed(device):
    flow = simulation(device)
    with insitu.no_host_transfer(allowed=16):
        flow.u.memory[0, :2].to_host()
        with pytest.raises(HostTransferError):
            flow.u.memory[0, :3].to_host()


def test_divergence_is_told_where_transfers_are_refused(device):
    flow = simulation(device)
    flow.u.set(np.full((1, N), np.nan))
    with insitu.no_host_transfer(), pytest.raises(solver.DivergenceError):
        flow.advance(steps=1)


def test_a_failed_transfer_is_in_no_ledger(device):
    flow = simulation(device)
    with Audit() as audit, pytest.raises(solver.ShapeError):
        flow.u.memory.copy_from(np.zeros(3))
    assert audit.lines == []


def test_audits_nest_and_leave_nothing_behind(device):
    functions = [solver.Memory.to_host, solver.Memory.copy_from, solver.Device.finish]
    flow = simulation(device)
    with Audit() as outer:
        flow.u.to_host()
        with Audit() as inner:
            flow.u.to_host()
        flow.u.to_host()
    assert (outer.field_bytes, inner.field_bytes) == (3 * 512, 512)
    assert [solver.Memory.to_host, solver.Memory.copy_from, solver.Device.finish] == functions
    flow.u.to_host()
    assert outer.field_bytes == 3 * 512


def test_torch_computes_the_same_under_an_audit():
    def train():
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
        x = torch.randn(16, 4)
        losses = []
        for _ in range(20):
            optimizer.zero_grad()
            loss = (network(x).squeeze(1) / len(x) - x.sum(1)).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    free = train()
    with insitu.no_host_transfer():
        assert train() == free


def test_lines_are_told_in_words():
    line = Line("a.b", "c.py:1", "torch item", "device_to_host", "number", 2, 16, 2)
    assert str(line) == "16 bytes device -> host (number), 2 × torch item in a.b at c.py:1"
    assert not line.passes_host

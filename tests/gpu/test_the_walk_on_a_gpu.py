"""What only a GPU can show: one memory and one stream for OCCA, torch and CuPy, and the same numbers as on the host."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.burgers_twin import conservative, miniapp

import insitu
from insitu import Sampler, as_cupy, as_torch, on_stream
from solver import Burgers, Device, Grid, Recorder, Simulation

pytestmark = pytest.mark.gpu

CASE = Path(__file__).parent.parent.parent / "jobs" / "burgers.yaml"
GRID = Grid(points=(256,), extent=((0.0, 2 * 3.1415926535),))
AXPY = """
@kernel void axpy(const int n, const double alpha, const double *x @dim(n), double *y @dim(n)) {
  for (int i = 0; i < n; ++i; @tile(256, @outer, @inner)) { y[i] += alpha * x[i]; }
}
"""
SLOW = 200_000_000  # clock cycles, about a tenth of a second


def test_the_miniapp_equals_its_twin(gpu_device, dtype):
    simulation = Simulation(
        gpu_device, GRID, Burgers(nu=0.01, scheme="miniapp"), dt=1e-3, dtype=dtype
    )
    recorder = Recorder(1, gpu_device.allocate((2001, 256), dtype))
    simulation.advance(steps=2001, recorder=recorder)
    twin = miniapp(
        np.sin(GRID.coordinates()[0]).astype(dtype),
        0.01,
        GRID.spacing[0],
        1e-3,
        2001,
        trajectory=True,
    )
    assert np.abs(recorder.into.to_host() - twin).max() < (1e-13 if dtype == "float64" else 1e-5)


@pytest.mark.parametrize("points", [512, 1024, 4096])
def test_the_conservative_scheme_equals_its_twin(gpu_device, points):
    grid = Grid(points=(points,), extent=((0.0, 2 * np.pi),))
    simulation = Simulation(gpu_device, grid, Burgers(nu=0.01), dt=1e-5)
    simulation.advance(steps=20)
    twin = conservative(np.sin(grid.coordinates()[0]), 0.01, grid.spacing[0], 1e-5, 20)
    assert np.abs(simulation.u.to_host()[0] - twin).max() < 1e-13


def test_torch_and_cupy_see_the_fields_pointer(gpu_device):
    cupy = pytest.importorskip("cupy")
    simulation = Simulation(gpu_device, GRID, Burgers(nu=0.01))
    tensor, array = as_torch(simulation.u), as_cupy(simulation.u)
    assert tensor.data_ptr() == array.data.ptr == simulation.u.interior.pointer
    assert tensor.device.index == gpu_device.ordinal and tensor.shape == array.shape == (1, 256)
    tensor[0, 3] = 42.0
    torch.cuda.synchronize()
    assert float(array[0, 3]) == 42.0 == simulation.u.to_host()[0, 3]
    assert cupy.asarray(simulation.u.memory).data.ptr == simulation.u.memory.pointer


def test_a_kernel_works_on_torch_and_cupy_arrays_in_place(gpu_device):
    cupy = pytest.importorskip("cupy")
    kernel = gpu_device.build(AXPY, "axpy")
    y = torch.ones(1000, dtype=torch.float64, device="cuda")
    x = cupy.arange(1000, dtype=cupy.float64)
    kernel(1000, 2.0, gpu_device.wrap(x), gpu_device.wrap(y))
    gpu_device.finish()
    assert torch.equal(y.cpu(), 1 + 2 * torch.arange(1000, dtype=torch.float64))


def slow_producer(gpu_device, joined):
    """Overwrite a field behind a long wait on the solver's stream, and read it from torch without synchronising."""
    solvers = torch.cuda.ExternalStream(gpu_device.stream.handle)
    memory = gpu_device.allocate((1 << 20,), "float64")
    tensor = as_torch(memory)
    tensor.zero_()
    torch.cuda.synchronize()
    with torch.cuda.stream(solvers):
        torch.cuda._sleep(SLOW)
        tensor.fill_(1.0)
    if joined:
        with on_stream(gpu_device):
            read = tensor.clone()
    else:
        with torch.cuda.stream(torch.cuda.Stream()):
            read = tensor.clone()
    torch.cuda.synchronize()
    return float(read.sum()) / memory.size


def test_on_stream_orders_work_behind_a_slow_producer(gpu_device):
    assert slow_producer(gpu_device, joined=True) == 1.0


def test_without_it_the_race_is_real(gpu_device):
    assert slow_producer(gpu_device, joined=False) < 1.0


def test_an_export_orders_the_consumers_stream(gpu_device):
    solvers, other = torch.cuda.ExternalStream(gpu_device.stream.handle), torch.cuda.Stream()
    memory = gpu_device.allocate((1 << 20,), "float64")
    with torch.cuda.stream(solvers):
        torch.cuda._sleep(SLOW)
        as_torch(memory).fill_(1.0)
    with torch.cuda.stream(other):
        read = as_torch(memory).clone()
    torch.cuda.synchronize()
    assert float(read.sum()) == memory.size


def test_launches_on_an_external_stream_are_ordered_both_ways(gpu_device):
    kernel = gpu_device.build(AXPY, "axpy")
    external = torch.cuda.Stream()
    x = torch.ones(1 << 20, dtype=torch.float64, device="cuda")
    y = torch.zeros_like(x)
    torch.cuda.synchronize()
    wrapped = gpu_device.wrap(x), gpu_device.wrap(y)
    with torch.cuda.stream(external):
        torch.cuda._sleep(SLOW)
        x.fill_(3.0)
        with gpu_device.launch_on(external):
            kernel(x.numel(), 1.0, *wrapped)
    kernel(x.numel(), 1.0, *wrapped)
    gpu_device.finish()
    assert torch.equal(y, torch.full_like(y, 6.0))


def test_a_dropped_wrap_waits_for_the_kernel_that_reads_it(gpu_device):
    kernel = gpu_device.build(AXPY, "axpy")
    y = torch.zeros(1 << 20, dtype=torch.float64, device="cuda")
    x = torch.ones_like(y)
    torch.cuda.synchronize()
    target, source = gpu_device.wrap(y), gpu_device.wrap(x)
    with torch.cuda.stream(torch.cuda.ExternalStream(gpu_device.stream.handle)):
        torch.cuda._sleep(SLOW)
    kernel(x.numel(), 1.0, source, target)
    del source, x
    reused = torch.full_like(y, 99.0)
    gpu_device.finish()
    torch.cuda.synchronize()
    assert torch.equal(y, torch.ones_like(y)) and float(reused[0]) == 99.0


def test_sampling_moves_nothing_through_the_host(gpu_device):
    simulation = Simulation(gpu_device, GRID, Burgers(nu=0.01))
    sampler = Sampler(gpu_device, 256, 100)
    before = gpu_device.transfers
    with on_stream(gpu_device):
        list(sampler.follow(simulation, steps=100))
        snapshots = sampler.snapshots
    after = gpu_device.transfers
    assert snapshots.is_cuda
    assert after["host_to_device"] == before["host_to_device"]
    assert after["device_to_host"] == before["device_to_host"]


def test_the_main_job_stays_on_the_device(gpu_device, tmp_path):
    settings = {
        "device": gpu_device.mode,
        "learning.model.init_args.training.epochs": 2,
        "time.steps": 301,
    }
    report = insitu.run(CASE, settings, output=tmp_path)
    loop = next(stage for stage in report.stages if stage["name"] == "time loop")
    assert loop["host_to_device"] == loop["device_to_host"] == 0
    host = insitu.run(CASE, settings | {"device": "Serial"}, output=tmp_path / "host")
    for name in ("DMD", "Persistence"):
        expected = host.learning["causal"]["models"][name]["field_error"]
        assert report.learning["causal"]["models"][name]["field_error"] == pytest.approx(
            expected, rel=1e-6
        )


def test_graph_capture_of_a_launch(gpu_device):
    kernel = gpu_device.build(AXPY, "axpy")
    x = torch.ones(1024, dtype=torch.float64, device="cuda")
    y = torch.zeros_like(x)
    wrapped = gpu_device.wrap(x), gpu_device.wrap(y)
    kernel(1024, 0.0, *wrapped)
    gpu_device.finish()
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    with gpu_device.launch_on(stream), torch.cuda.stream(stream):
        graph.capture_begin()
        kernel(1024, 1.0, *wrapped)
        graph.capture_end()
    for _ in range(5):
        graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(y, torch.full_like(y, 5.0))


def test_two_devices_on_one_gpu_share_the_primary_context():
    first, second = Device.open("CUDA:0"), Device.open("CUDA:0")
    a, b = first.allocate((8,)), second.allocate((8,))
    a.copy_from(np.arange(8.0))
    as_torch(b).copy_(as_torch(a))
    torch.cuda.synchronize()
    assert np.array_equal(b.to_host(), np.arange(8.0))

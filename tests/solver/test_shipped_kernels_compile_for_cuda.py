"""Every shipped kernel compiles with the real nvcc, and is launched in the shape it was written for."""

import shutil

import pytest
from conftest import skip
from helpers.mock_cuda import build_driver, run_on_mock

SCRIPT = """
device = solver.Device.open("CUDA:0")
device.build("axpy.okl", "axpy")
for points in (256, 5000):
    grid = solver.Grid((points,), ((0.0, 6.28),))
    for scheme in ("miniapp", "conservative"):
        dtype = "float32" if points == 256 else "float64"
        simulation = solver.Simulation(device, grid, solver.Burgers(0.01, scheme=scheme), dt=1e-5, dtype=dtype)
        mark(f"{scheme}_{points}")
        simulation.take(1e-5, 2)
        mark("others")
mark("drop")
del simulation
"""


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    if shutil.which("nvcc") is None:
        skip("nvcc", "nvcc is not installed")
    folder = tmp_path_factory.mktemp("mock")
    status, _, error, log = run_on_mock(build_driver(folder), folder, SCRIPT)
    assert status == 0, error
    return log


@pytest.mark.parametrize("scheme", ["miniapp", "conservative"])
def test_a_small_state_is_one_block_for_all_steps(log, scheme):
    launches = [call for call in log.sections[f"{scheme}_256"] if call.name == "cuLaunchKernel"]
    assert [(call["grid"], call["block"]) for call in launches] == [("1", "256")]


@pytest.mark.parametrize(("scheme", "stages"), [("miniapp", 1), ("conservative", 3)])
def test_a_large_state_is_two_launches_a_stage(log, scheme, stages):
    launches = [call for call in log.sections[f"{scheme}_5000"] if call.name == "cuLaunchKernel"]
    assert [call["grid"] for call in launches] == ["20", "1"] * stages * 2


@pytest.mark.parametrize("scheme", ["miniapp", "conservative"])
def test_steps_neither_copy_through_the_host_nor_wait(log, scheme):
    for points in (256, 5000):
        names = set(log.names(f"{scheme}_{points}"))
        assert names <= {"cuLaunchKernel", "cuMemcpyDtoDAsync", "cuCtxSetCurrent"}, names


def test_a_kernel_of_two_nests_unloads_its_module_once(log):
    """OCCA 1 asks for it once a nest, a double free."""
    alive, unloaded = set(), 0
    for call in log.calls:
        if call.name == "cuModuleLoad":
            alive.add(call["module"])
        if call.name == "cuModuleUnload":
            alive.remove(call["module"])
            unloaded += 1
    assert unloaded >= 4

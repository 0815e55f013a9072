"""Every shipped kernel of the explicit equations compiles with the real nvcc, and is launched in the shape it was written for."""

import json
import shutil

import pytest
from conftest import skip
from helpers.mock_cuda import build_driver, run_on_mock

SCRIPT = """
import json
import warnings
from concurrent.futures import ThreadPoolExecutor
from mpi4py import MPI
from solver.decomposition import Decomposition
from solver.grid import Block
from solver.steppers import METHODS
from solver import AdvectionDiffusion, Burgers, Dirichlet, Grid, KuramotoSivashinsky, Neumann, Periodic

warnings.filterwarnings("ignore", "MPI takes no device buffers")
device = solver.Device.open("CUDA:0")
device.build("axpy.okl", "axpy")
sides, circle = (Dirichlet(0.1), Neumann(0.2)), (Periodic(), Periodic())
moving = (Dirichlet(lambda *_: 0.1), Neumann(0.2))
with_fields = dict(diffusivity_field=0.1, velocity_field=[0.2], forcing=1.0)
CASES = {
    "miniapp whole": ((256,), None, Burgers(0.01, "miniapp"), "float32", {}),
    "conservative tiles": ((5000,), None, Burgers(0.01), "float32", {"members": 3}),
    "kuramoto_sivashinsky whole": ((128,), None, KuramotoSivashinsky(), "float64", {"members": 4}),
    "fields and sides in tiles": ((3000,), (sides,), AdvectionDiffusion(**with_fields), "float64", {"method": "ssp-rk2"}),
    "3-D": ((9, 20, 40), (circle, sides, sides), Burgers(0.1, "central", forcing=1.0), "float32", {"method": "rk4"}),
    "sides that depend on time": ((70, 300), (moving, circle), Burgers([0.1, 0.2], "central", forcing=1.0), "float64", {}),
}


def make(name):
    points, boundaries, equation, dtype, options = CASES[name]
    grid = Grid(points, ((0.0, 6.28),) * len(points), boundaries)
    return solver.Simulation(device, grid, equation, "gaussian", dtype=dtype, **options)


BLOCKS = {
    "a line": ((900,), (2,), None, Burgers(0.01)),
    "a plane": ((70, 300), (2, 2), (sides, circle), Burgers([0.1, 0.2], "central", forcing=1.0)),
    "a volume": ((16, 20, 40), (2, 2, 2), (circle, sides, circle), AdvectionDiffusion(0.1)),
}


def make_block(name):
    points, ranks, boundaries, equation = BLOCKS[name]
    grid = Grid(points, ((0.0, 6.28),) * len(points), boundaries)
    place = Decomposition(points, ranks, grid.is_periodic)
    block = Block(grid, place, MPI.COMM_SELF, overlaps=True)
    made = equation.discretize(device, block, METHODS["ssp-rk2"], "float64", equation.members)
    return made.halos[0].sent_bytes


with ThreadPoolExecutor() as pool:  # fills the kernel cache
    list(pool.map(make, CASES))
    sent = dict(zip(BLOCKS, pool.map(make_block, BLOCKS)))
report = {}
for name in CASES:
    simulation = make(name)
    dt = 0.5 * simulation.limit
    simulation.take(dt, 2)
    mark(name.replace(" ", "_"))
    simulation.take(dt, 12)
    mark("others")
    most = simulation.discretization.steps_per_pass
    report[name] = [simulation.members or 1, most]
print(json.dumps(report | {"sent": sent}))
mark("drop")
del simulation
"""
WHOLE = ("miniapp whole", "kuramoto_sivashinsky whole")
PASSES = ("conservative tiles", "fields and sides in tiles", "3-D")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    if shutil.which("nvcc") is None:
        skip("nvcc", "nvcc is not installed")
    folder = tmp_path_factory.mktemp("mock")
    status, out, error, log = run_on_mock(build_driver(folder), folder, SCRIPT)
    assert status == 0, error
    return log, json.loads(out)


def launches(log, section):
    return [
        call for call in log.sections[section.replace(" ", "_")] if call.name == "cuLaunchKernel"
    ]


@pytest.mark.parametrize("name", WHOLE)
def test_a_small_state_is_one_launch_of_a_block_a_member(run, name):
    log, report = run
    members, _ = report[name]
    assert [call["grid"] for call in launches(log, name)] == [str(members)]


@pytest.mark.parametrize("name", PASSES)
def test_a_large_state_is_a_launch_a_pass(run, name):
    log, report = run
    members, most = report[name]
    count = -(-12 // most)
    assert len(launches(log, name)) in (count, count + 1)
    assert all(
        int(call["grid"]) % members == 0 and int(call["grid"]) > 1 for call in launches(log, name)
    )


@pytest.mark.parametrize("name", WHOLE + PASSES)
def test_steps_neither_copy_through_the_host_nor_wait(run, name):
    names = set(run[0].names(name.replace(" ", "_")))
    assert names <= {"cuLaunchKernel", "cuMemcpyDtoDAsync", "cuCtxSetCurrent"}, names


def test_kernels_of_blocks_that_ranks_share(run):
    """They compile; two ranks would run them."""
    _, report = run
    assert all(sent > 0 for sent in report["sent"].values())


def test_sides_that_depend_on_time_are_one_copy_a_step(run):
    log, _ = run
    names = log.names("sides_that_depend_on_time")
    assert sum("HtoD" in name for name in names) == 12
    assert names.count("cuLaunchKernel") == 12


def test_a_kernel_of_several_nests_unloads_its_module_once(run):
    """OCCA 1 asks for it once a nest, a double free."""
    alive, unloaded = set(), 0
    for call in run[0].calls:
        if call.name == "cuModuleLoad":
            alive.add(call["module"])
        if call.name == "cuModuleUnload":
            alive.remove(call["module"])
            unloaded += 1
    assert unloaded >= 4

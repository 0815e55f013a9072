"""Ranks of a node take its GPUs in turn and divide its cores; one notice where they share a GPU."""

import json
import sys

import pytest
from helpers.mock_cuda import build_driver
from helpers.processes import finish, start_ranks

import solver._occa as _occa
from solver import DeviceError
from solver.placement import choose_gpu

GPUS = """
import json, sys, warnings
from mpi4py import MPI
from solver import gpu_identity
from solver.placement import choose_gpu, tell_of_sharing
comm = MPI.COMM_WORLD
given = sys.argv[1:]
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    mine = int(given[0]) if given else choose_gpu("CUDA", comm)
    tell_of_sharing("CUDA", mine, comm)
result = comm.gather((mine, gpu_identity("CUDA", mine)[-2:], [str(one.message) for one in told]))
if comm.rank == 0:
    print(json.dumps(result))
"""

CORES = """
import json, os, sys
from mpi4py import MPI
comm = MPI.COMM_WORLD
cores = json.loads(sys.argv[1])[comm.rank]
os.sched_getaffinity = lambda process: set(cores)
import solver
device = solver.Device.open("OpenMP", comm)
values = device.allocate((1000,))
kernel = device.build('''
@kernel void fill(const int n, double *x @dim(n)) {
  for (int i = 0; i < n; ++i; @tile(1, @outer, @inner)) { x[i] = i; }
}''', "fill")
before = len(os.listdir("/proc/self/task"))
kernel(1000, values)
team = len(os.listdir("/proc/self/task")) - before + 1
result = comm.gather((solver.thread_count(), team))
if comm.rank == 0:
    print(json.dumps(result))
"""


def ranks(count, code, *arguments, **variables):
    """Run code on some ranks; return what rank 0 printed."""
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    status, out, err = finish(start_ranks(count, *command, **variables))
    assert (status, err) == (0, ""), f"{status}\n{out}\n{err}"
    return json.loads(out)


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    if "CUDA" not in _occa.modes_built():
        pytest.skip("mode CUDA is not built in")
    return build_driver(tmp_path_factory.mktemp("driver"))


@pytest.mark.parametrize(
    ("variables", "ordinals", "gpus"),
    [
        ({"MOCK_CUDA_GPUS": 4}, [0, 1, 2], ["00", "01", "02"]),
        ({"MOCK_CUDA_GPUS": 4, "INSITU_GPU_ORDER": "reverse"}, [3, 2, 1], ["03", "02", "01"]),
        ({"MOCK_CUDA_GPUS": 8, "CUDA_VISIBLE_DEVICES": "5,3,6"}, [0, 1, 2], ["05", "03", "06"]),
    ],
)
def test_each_rank_has_a_gpu_of_its_own(driver, variables, ordinals, gpus):
    result = ranks(3, GPUS, LD_LIBRARY_PATH=driver, **variables)
    assert [mine for mine, _, _ in result] == ordinals
    assert [gpu for _, gpu, _ in result] == gpus
    assert all(told == [] for _, _, told in result)


def test_the_lowest_of_ranks_that_share_a_gpu_says_so_once(driver):
    result = ranks(3, GPUS, LD_LIBRARY_PATH=driver, MOCK_CUDA_GPUS=2)
    assert [mine for mine, _, _ in result] == [0, 1, 0]
    [told], *others = [told for _, _, told in result]
    assert told.startswith("2 of 3 ranks on a node share GPU CUDA:0;") and others == [[], []]
    [told], *others = [
        told for _, _, told in ranks(2, GPUS, "1", LD_LIBRARY_PATH=driver, MOCK_CUDA_GPUS=2)
    ]
    assert told.startswith("2 of 2 ranks on a node share GPU CUDA:1;") and others == [[]]


def test_an_unknown_order_is_an_error(monkeypatch):
    monkeypatch.setenv("INSITU_GPU_ORDER", "backward")
    with pytest.raises(DeviceError, match="must be forward or reverse, got 'backward'"):
        choose_gpu("CUDA", None)


@pytest.mark.parametrize(
    ("cores", "threads"),
    [
        ([range(8), range(8)], [4, 4]),
        ([range(8), range(8), range(8)], [2, 2, 2]),
        ([range(3), range(3, 8)], [3, 5]),
        ([range(6), range(4, 6)], [5, 1]),
        ([range(1), range(1), range(1)], [1, 1, 1]),
    ],
)
def test_ranks_divide_the_cores_they_share(cores, threads):
    cores = json.dumps([list(each) for each in cores])
    result = ranks(len(threads), CORES, cores, OMP_NUM_THREADS=None)
    assert result == [[count, count] for count in threads]


def test_a_given_number_of_threads_is_kept():
    cores = json.dumps([list(range(8))] * 2)
    assert ranks(2, CORES, cores, OMP_NUM_THREADS=3) == [[3, 3], [3, 3]]

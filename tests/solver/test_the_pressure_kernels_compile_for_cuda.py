"""The kernels of incompressible flow compile with the real nvcc, for a rank's block; they do all that a whole grid's do."""

import shutil

import pytest
from conftest import skip
from helpers.mock_cuda import build_driver, run_on_mock

SCRIPT = """
import warnings
from mpi4py import MPI
from solver.decomposition import Decomposition
from solver.grid import Block
from solver.steppers import METHODS
from solver import Grid, NavierStokes, Wall

warnings.filterwarnings("ignore", "MPI takes no device buffers")
device = solver.Device.open("CUDA:0")
points = POINTS
axes = len(points)
grid = Grid(points, ((0.0, 1.0),) * axes, ((Wall(), Wall()),) * axes)
place = Decomposition(points, (2,) * axes, grid.is_periodic)
equation = NavierStokes(0.01, forcing=(0.0,) * axes)
block = Block(grid, place, MPI.COMM_SELF)
scheme = equation.discretize(device, block, METHODS["ssp-rk3"], "float64")
print(scheme.pressure.shape)
"""


@pytest.mark.parametrize("points", [(96, 96), (48, 48, 48)], ids=str)
def test_of_a_block(points, tmp_path):
    if shutil.which("nvcc") is None:
        skip("nvcc", "nvcc is not installed")
    script = SCRIPT.replace("POINTS", str(points))
    status, out, error, _ = run_on_mock(build_driver(tmp_path), tmp_path, script)
    assert status == 0, error
    assert out == f"{tuple(n // 2 for n in points)}\n"

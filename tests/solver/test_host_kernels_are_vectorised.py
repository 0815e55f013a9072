"""What OCCA makes of the kernels is still vectorised by the compiler: packed arithmetic in the machine code."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.processes import environment

BUILD = """
import sys
from solver import AdvectionDiffusion, Burgers, Device, Grid, Simulation
device = Device.open(sys.argv[1])
for points, equation in (
    ((256,), Burgers(0.01, "miniapp")),
    ((256,), Burgers(0.01, "conservative")),
    ((20000,), Burgers(0.01, "central")),
    ((200, 264), Burgers(0.01, "central")),
    ((40, 48, 72), AdvectionDiffusion(0.01, (1.0, 0.5, 0.2))),
):
    Simulation(device, Grid(points, ((0.0, 1.0),) * len(points)), equation, method="euler")
"""
PACKED = re.compile(r"\tv(?:add|sub|mul|fn?m(?:add|sub)\d+)pd .*%[yz]mm")
SINGLE = re.compile(r"\tv(?:add|sub|mul|fn?m(?:add|sub)\d+)sd ")


@pytest.mark.parametrize("mode", ["Serial", "OpenMP"])
def test_arithmetic_is_packed(mode, tmp_path):
    cpuinfo = Path("/proc/cpuinfo")
    if shutil.which("objdump") is None or "avx2" not in cpuinfo.read_text():
        pytest.skip("needs objdump and a processor with AVX2")
    variables = environment(OCCA_CACHE_DIR=tmp_path, OCCA_CXXFLAGS=None)
    subprocess.run([sys.executable, "-c", BUILD, mode], env=variables, check=True)
    kernels = [
        source for source in tmp_path.rglob("source.cpp") if "void march_" in source.read_text()
    ]
    assert len(kernels) >= 8
    for source in kernels:
        dump = ["objdump", "-d", "--no-show-raw-insn", source.parent / "binary"]
        code = subprocess.run(dump, capture_output=True, text=True, check=True).stdout
        packed, single = len(PACKED.findall(code)), len(SINGLE.findall(code))
        assert packed >= 8 and packed > single / 3, f"{packed} packed, {single} single: {source}"

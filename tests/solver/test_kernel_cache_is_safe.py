import shutil
import time
from pathlib import Path

import pytest
from helpers.kernels import AXPY
from helpers.processes import finish, output_of, run_python, start_python

import solver
import solver._occa as _occa
from solver import jit

BUILD = f"""
import sys, solver
device = solver.Device.open(sys.argv[1])
kernel = device.build({AXPY!r}, "axpy", {{"real": "double", "MARK": sys.argv[2]}})
x, y = device.wrap(__import__("numpy").ones(10)), device.wrap(__import__("numpy").ones(10))
kernel(10, 2.0, x, y)
assert y.to_host().tolist() == [3.0] * 10
print(kernel.directory)
"""


@pytest.mark.parametrize("mode", ["Serial", "OpenMP"])
def test_eight_processes_build_one_kernel_on_a_cold_cache(mode, tmp_path):
    processes = [start_python(BUILD, mode, 0, OCCA_CACHE_DIR=tmp_path) for _ in range(8)]
    results = [finish(process) for process in processes]
    assert [(status, err) for status, _, err in results] == [(0, "")] * 8
    assert len({out for _, out, _ in results}) == 1


def test_the_cache_is_keyed_by_occa_and_by_processor(monkeypatch):
    here = jit.cache_directory()
    assert _occa.occa_version in here.name
    monkeypatch.setattr(jit, "_processor", lambda: "another")
    assert jit.cache_directory() != here
    assert jit.cache_directory().parent == here.parent


def test_the_processor_s_name_depends_on_its_instruction_set(monkeypatch):
    names = set()
    for flags in ("avx2", "avx2 avx512f"):
        monkeypatch.setattr(
            Path, "read_text", lambda self, flags=flags: f"model name: X\nflags: {flags}\n"
        )
        names.add(jit._processor.__wrapped__())
    assert len(names) == 2


def test_an_unwritable_cache_is_an_error(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("OCCA_CACHE_DIR", str(blocked))
    with pytest.raises(solver.DeviceError, match="cache must be writable.*set OCCA_CACHE_DIR"):
        solver.Device.open("Serial")


@pytest.mark.parametrize("variable", ["OCCA_CXX", "CXX"])
def test_a_missing_compiler_is_an_error(monkeypatch, variable):
    monkeypatch.delenv("OCCA_CXX", raising=False)
    monkeypatch.setenv(variable, "/nonexistent/g++ -x")
    with pytest.raises(solver.DeviceError, match="/nonexistent/g.. -x.*not found.*set OCCA_CXX"):
        solver.Device.open("Serial")


@pytest.mark.skipif(_occa.occa_version_number >= 20000, reason="OCCA 2 has no lock")
def test_a_stale_lock_does_not_delay(tmp_path):
    """OCCA 1 waits 20 s for a lock that a killed process left."""
    built = Path(output_of(BUILD, "Serial", 1, OCCA_CACHE_DIR=tmp_path).strip())
    shutil.rmtree(built)
    cache = built.parent.parent
    for tag in ("occa-device", "serial-kernel", "kernel-info"):
        (cache / "locks" / f"{built.name}_{tag}").mkdir(parents=True)
    begin = time.perf_counter()
    output_of(BUILD, "Serial", 1, OCCA_CACHE_DIR=tmp_path)
    assert time.perf_counter() - begin < 8


def test_a_killed_build_is_recovered(tmp_path):
    process = start_python(BUILD, "Serial", 2, OCCA_CACHE_DIR=tmp_path)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("*/cache/*/*source.cpp")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    finish(process)
    status, _, err = run_python(BUILD, "Serial", 2, OCCA_CACHE_DIR=tmp_path)
    assert (status, err) == (0, "")

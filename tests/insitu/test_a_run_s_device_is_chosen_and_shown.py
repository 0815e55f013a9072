"""INSITU_DEVICE chooses the device of a whole run, and `insitu info` shows where each rank runs."""

import json
import re
import sys
from pathlib import Path

import pytest
from helpers.processes import finish, start_ranks

from insitu import cli

CASE = Path(__file__).parent.parent.parent / "jobs" / "burgers.yaml"
SHORT = ["--time.steps=40", "--learning.model=Persistence", "--learning.baselines=[]"]


@pytest.mark.parametrize(
    ("variable", "key", "taken"),
    [
        ("Serial", "OpenMP", "Device(Serial)"),
        ("cpu", "CUDA:1", "Device(OpenMP)"),
        ("", "Serial", "Device(Serial)"),
    ],
)
def test_the_environment_overrules_the_case(monkeypatch, tmp_path, variable, key, taken):
    monkeypatch.setenv("INSITU_DEVICE", variable)
    assert cli.main(["run", str(CASE), f"--device={key}", "--output", str(tmp_path), *SHORT]) == 0
    assert json.loads((tmp_path / "report.json").read_text())["provenance"]["device"] == taken


def test_info_lists_each_rank_with_its_host_and_device():
    command = [sys.executable, "-m", "insitu", "info"]
    status, out, err = finish(start_ranks(3, *command, INSITU_DEVICE="OpenMP", OMP_NUM_THREADS=5))
    assert (status, err) == (0, "")
    assert re.findall(r"^rank (\d) +\S+, OpenMP, threads: 5, cores: \d+$", out, re.M) == list("012")
    assert out.count("insitu  ") == 1 and "ranks: 3, GPU-aware: no, fields are staged" in out

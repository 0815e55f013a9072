"""A run that moves more through the host than its case allows fails and says who moved it; one that does not says so too."""

import json

import numpy as np
import pytest

import insitu
from insitu.audit import TransferBudgetError, Transfers
from insitu.cli import main
from insitu.config import CaseError
from insitu.timing import Ledger
from solver import AdvectionDiffusion, Dirichlet, Grid, Simulation

CASE = """
grid: {points: [32], extent: [[0.0, 6.283185307]]}
equation: {class_path: Burgers, init_args: {nu: 0.05}}
time: {dt: 0.001, steps: 60}
learning: {model: Persistence, baselines: [], splits: [causal]}
"""


@pytest.fixture
def case(tmp_path):
    file = tmp_path / "case.yaml"
    file.write_text(CASE)
    return file


def test_a_run_without_transfers_says_so(case, tmp_path, capsys, host_device):
    flags = ["--transfers.per_step", "0", "--device", host_device.mode]
    assert main(["run", str(case), "--output", str(tmp_path / "out"), *flags]) == 0
    said = f"time loop: 0 field bytes through the host over 60 steps on Device({host_device.mode})"
    assert said in capsys.readouterr().out
    stages = json.loads((tmp_path / "out" / "report.json").read_text())["stages"]
    setup, loop = stages[:2]
    assert loop["steps"] == 60 and loop["through_host"] == 0
    assert setup["through_host"] >= 32 * 8  # the initial values
    (initial,) = [
        line
        for line in setup["transfers"]
        if line["who"].endswith("Simulation.__init__") and line["direction"] == "within_host"
    ]
    assert initial["bytes"] == 32 * 8 and initial["kind"] == "field"


def test_a_run_that_moves_more_fails_with_the_ledgers_lines(case, tmp_path):
    with pytest.raises(TransferBudgetError) as caught:
        insitu.run(case, {"transfers": {"stages": {"setup": 100}}, "device": "Serial"}, tmp_path)
    assert "'setup' may move 100 bytes" in str(caught.value)
    assert "256 bytes" in str(caught.value) and "solver.simulation.Simulation.__init__" in str(
        caught.value
    )


def moving(device, budget, steps=5):
    """Advance a flow whose side depends on time, so that its value goes to the device each step."""
    grid = Grid((32,), ((0.0, 1.0),), ((Dirichlet(lambda x, t: np.sin(t)), Dirichlet(0.0)),))
    ledger = Ledger(device, budget)
    flow = Simulation(device, grid, AdvectionDiffusion(0.01), dt=1e-3)
    with ledger.stage("time loop") as loop:
        flow.take(1e-3, steps)
        loop.steps = steps
    return ledger.as_list()[0]


def test_bytes_per_step_are_held_to_the_budget(device):
    moved = moving(device, None)["through_host"]
    assert moved > 0 and moved % 5 == 0
    assert moving(device, Transfers(per_step=moved // 5))["through_host"] == moved
    with pytest.raises(TransferBudgetError, match="in 5 steps, it moved") as caught:
        moving(device, Transfers(per_step=moved // 5 - 1))
    assert "solver.sides." in str(caught.value)
    assert f"{__file__}:" in str(caught.value)


def test_a_stage_has_the_totals_of_the_device(device):
    before = device.transfers
    stage = moving(device, None)
    moved = {key: count - before[key] for key, count in device.transfers.items()}
    assert stage["through_host"] == sum(
        line["bytes"] for line in stage["transfers"] if line["kind"] == "field"
    )
    assert stage["host_to_device"] <= moved["host_to_device"]
    assert stage["device_to_device"] <= moved["device_to_device"]
    assert stage["copies"] >= sum(line["count"] for line in stage["transfers"] if line["bytes"])


def test_a_budget_in_error_is_one_sentence():
    with pytest.raises(CaseError, match="must name stages of a run, setup, .* got 'loop'"):
        Transfers(stages={"loop": 0})
    with pytest.raises(CaseError, match="0 or more bytes, got -1"):
        Transfers(per_step=-1)

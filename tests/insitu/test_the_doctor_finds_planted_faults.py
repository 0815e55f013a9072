"""The doctor finds each planted fault by the check that is meant for it, and none in a right coupling or a shipped case."""

from pathlib import Path

import pytest
import torch
from helpers.couplings import FAULTS, network, right

from insitu.cli import main
from insitu.config import load_case
from insitu.doctor import CHECKS, Finding, coupling_of, examine, launching, table
from insitu.doctor.finding import Fault
from insitu.doctor.ranks import check_ranks
from solver import Device

JOBS = sorted((Path(__file__).parent.parent.parent / "jobs").glob("*.yaml"))
SMALL = """
grid: {points: [32], extent: [[0.0, 6.283185307]]}
equation: {class_path: Burgers, init_args: {nu: 0.05}}
time: {dt: 0.001, steps: 60}
device: Serial
"""


CLOSED = """
grid: {points: [48], extent: [[0.0, 6.283185307]]}
equation: {class_path: Burgers, init_args: {nu: 0.1, scheme: central, forcing: 0.0}}
time: {until: 0.5, dt: 0.01}
learning: {model: DMD, baselines: [Persistence]}
closure:
  model:
    class_path: insitu.closure.Correction
    init_args:
      components: 1
      core:
        class_path: insitu.surrogates.PatchCore
        init_args: {components: 1, axes: 1, reach: 10, rank: 5, degree: 1}
"""


def failed(findings):
    return {finding.check: finding.sentence for finding in findings if finding.status == "FAIL"}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault):
    parts, check = FAULTS[fault]
    found = failed(examine(right(Device.open("Serial"), **parts)))
    assert check in found, found
    assert "raises" not in found[check] and "\n" not in found[check]


def test_a_right_coupling_passes(host_device):
    findings = examine(right(host_device))
    assert failed(findings) == {}
    skipped = {finding.check for finding in findings if finding.status == "skipped"}
    assert skipped == {"model and solver share a stream", "ranks change nothing"}


def test_buffers_are_weights_too():
    class Fitted(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("rate", torch.zeros(2, 1, 1, dtype=torch.float64))

        def forward(self, states):
            return self.rate * states

    findings = examine(right(Device.open("Serial"), model=Fitted()))
    assert findings[0].status == "PASS" and "differs" in findings[0].sentence


def test_the_weights_are_as_before():
    model = network()
    before = [p.clone() for p in model.parameters()]
    examine(right(Device.open("Serial"), model=model))
    assert all(torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True))
    assert not model._forward_hooks and not model._forward_pre_hooks


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.stem)
def test_no_false_alarm_on_a_shipped_case(job):
    case, _ = load_case(job)
    findings = examine(coupling_of(case, Device.open("OpenMP")))
    assert failed(findings) == {}
    assert sum(finding.status == "PASS" for finding in findings) >= 3


def test_the_command_prints_a_table_and_ends_with_0(tmp_path, capsys):
    file = tmp_path / "case.yaml"
    file.write_text(SMALL)
    assert main(["doctor", str(file)]) == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) == len(CHECKS)
    assert "PASS     ranks change nothing" in out and "bits of one" in out


def test_the_command_ends_with_1_where_a_check_fails(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("insitu.cli.launching", lambda plain: None)
    file = tmp_path / "case.yaml"
    file.write_text(f"{SMALL}learning: {{model: helpers.couplings.DeafLSTM}}\n")
    assert main(["doctor", str(file)]) == 1
    assert "FAIL     weights change the forecast" in capsys.readouterr().out


def test_the_closure_of_a_case_is_examined(tmp_path):
    file = tmp_path / "case.yaml"
    file.write_text(CLOSED)
    case, _ = load_case(file)
    findings = examine(coupling_of(case, Device.open("Serial")))
    assert failed(findings) == {}
    passed = {finding.check for finding in findings if finding.status == "PASS"}
    assert {
        "weights change the state",
        "the answer is a rate",
        "a wrong shape is an error",
    } < passed


def test_what_hangs_on_the_rank_is_found(tmp_path, monkeypatch):
    file = tmp_path / "case.yaml"
    file.write_text(f"{SMALL}initial: {{class_path: helpers.couplings.NoiseOfTheRank}}\n")
    tests = Path(__file__).parent.parent
    monkeypatch.setenv("PYTHONPATH", f"{tests}:{tests.parent}")
    case, plain = load_case(file)
    coupling = coupling_of(case, Device.open("Serial"))
    with pytest.raises(Fault, match="two ranks in their order must give the answer of one"):
        check_ranks(type(coupling)(coupling.simulate, on_ranks=launching(plain)))


def test_an_error_of_the_coupling_is_a_failure_with_its_text():
    def refuse(rows):
        raise ValueError("no pairs today")

    found = failed(examine(right(Device.open("Serial"), pairs=refuse)))
    assert found == {
        "inputs end before their targets": "the coupling raises ValueError: no pairs today"
    }


def test_findings_are_told_in_columns():
    lines = table([Finding("a", "PASS", "well"), Finding("longer", "skipped", "why")]).splitlines()
    assert lines == ["PASS     a       well", "skipped  longer  why"]

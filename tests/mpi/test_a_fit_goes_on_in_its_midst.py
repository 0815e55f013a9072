"""A run that is stopped or dies in the midst of a fit goes on from there, to the bits that the whole run has."""

import json
import os

import pytest
import torch
import yaml
from helpers.runs import differences, leave_figures_out

from insitu.checkpoint import keeper, stops
from insitu.config import load_case
from insitu.pipeline import run_case
from insitu.training import Watch

LINE = {
    "grid": {"points": [32], "extent": [[0, 6.283185307179586]]},
    "equation": {"class_path": "Burgers", "init_args": {"nu": 0.1}},
    "time": {"steps": 30},
    "sampling": {"every": 2},
}
DMD = {"model": "DMD", "baselines": ["Persistence"], "splits": ["causal"]}
LSTM = {
    "class_path": "insitu.models.LSTM",
    "init_args": {"hidden": 4, "layers": 1, "history": 2, "training": {"epochs": 4}},
}
COEFFICIENTS = LINE | {
    "learning": {
        "model": {"class_path": "helpers.learners.Twice"},
        "baselines": [LSTM, {"class_path": "helpers.learners.Twice", "init_args": {"epochs": 2}}],
        "splits": ["causal"],
    }
}
SURROGATES = LINE | {
    "equation": {"class_path": "Burgers", "init_args": {"nu": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]}},
    "learning": DMD
    | {
        "surrogates": {
            "cores": ["helpers.learners.DroppingCore", "helpers.learners.DroppingCore"],
            "training": {"epochs": 2, "batch_size": 6},
        }
    },
}
LOCAL = SURROGATES | {
    "learning": DMD
    | {
        "surrogates": {
            "cores": [
                {
                    "class_path": "insitu.surrogates.ResidualCNN",
                    "init_args": {"width": 4, "dilations": [1]},
                }
            ],
            "training": {"epochs": 3, "batch_size": 6},
        }
    }
}
CASES = {"coefficients": (COEFFICIENTS, 6), "surrogates": (SURROGATES, 7)}


@pytest.fixture
def run(comm, shared_path, monkeypatch):
    """Run a case until it has trained on so many batches; return the report and the batches of rank 0."""
    monkeypatch.setattr(keeper, "_LOOK", 0.0)
    monkeypatch.setattr(keeper.Writing, "is_alive", property(lambda self: bool(self.join())))
    leave_figures_out(monkeypatch)
    end_batch = Watch.end_batch

    def start(case, folder, stop=None, dies=False, seconds=None, is_alone=False):
        file = shared_path / f"{os.getpid()}.yaml"
        file.write_text(yaml.safe_dump(case))
        batches = []

        def count(watch):
            batches.append(1)
            if dies and len(batches) == stop:
                raise SystemExit(9)  # stands for a kill
            end_batch(watch)

        monkeypatch.setattr(Watch, "end_batch", count)
        is_over = stop is not None and not dies
        monkeypatch.setattr(
            stops.Stops, "reason", lambda *_: 3 if is_over and len(batches) >= stop else 0
        )
        flags = {"device": "Serial", "checkpoint.seconds": seconds}
        torch.manual_seed(1)  # as every process of a run begins
        report = None
        try:
            if comm.rank == 0 or not is_alone:
                ranks = None if is_alone else comm
                report = run_case(*load_case(file, flags), shared_path / folder, ranks)
        except SystemExit:
            pass
        comm.Barrier()
        return report, comm.bcast(len(batches))

    return start


@pytest.mark.ranks(2)
@pytest.mark.parametrize("name", CASES)
def test_on_the_same_ranks(run, shared_path, name):
    require_the_same(run, shared_path, name)


@pytest.mark.ranks(1)
def test_on_one_rank(run, shared_path):
    require_the_same(run, shared_path, "coefficients")


def require_the_same(run, shared_path, name):
    case, stop = CASES[name]
    _, whole = run(case, "whole")
    parts = []
    while len(parts) < 9:
        report, batches = run(case, "stopped", stop)
        parts.append(batches)
        if report is None or report.status == "finished":
            break
    assert len(parts) >= 3 and sum(parts) == whole
    assert differences(shared_path / "whole", shared_path / "stopped") == []
    _, batches = run(case, "saved", seconds=0.0)
    assert batches == whole
    assert differences(shared_path / "whole", shared_path / "saved") == []
    dead, _ = run(case, "killed", stop, dies=True, seconds=0.0)
    assert dead is None
    report, batches = run(case, "killed")
    assert report.status == "finished" and whole - stop < batches < whole - stop // 2
    assert differences(shared_path / "whole", shared_path / "killed") == []


@pytest.mark.ranks(2)
def test_on_another_number_of_ranks(run, shared_path):
    _, whole = run(LOCAL, "whole")
    for name, is_alone in (("1 to 2", False), ("2 to 1", True)):
        _, first = run(LOCAL, name, 7, is_alone=not is_alone)
        _, rest = run(LOCAL, name, is_alone=is_alone)
        assert 0 < first < whole and first + rest == whole
        expected, found = (
            json.loads((shared_path / each / "report.json").read_text())["surrogates"]
            for each in ("whole", name)
        )
        expected, found = (each["ResidualCNN"] for each in (expected, found))
        assert found["field_error"] == pytest.approx(expected["field_error"], rel=1e-9)
        for losses in ("loss", "validation_loss"):
            assert found["training"][losses] == pytest.approx(
                expected["training"][losses], rel=1e-9
            )

"""A case may name a takeover or a closure, and report.json says what they did."""

import json

import pytest
import torch
import yaml

import insitu
from insitu.closure import Correction
from insitu.surrogates import PatchCore

LEARNING = {"model": "DMD", "baselines": ["Persistence"]}
TAKEN_OVER = {
    "grid": {"points": [96], "extent": [[0, 1]]},
    "equation": {
        "class_path": "AdvectionDiffusion",
        "init_args": {"diffusivity": 0.02, "velocity": [0.5]},
    },
    "time": {"until": 1.0, "dt": 0.001},
    "sampling": {"every": 20},
    "learning": LEARNING,
}
TAKEOVER = {
    "steps": 16,
    "core": {
        "class_path": "insitu.surrogates.PatchCore",
        "init_args": {"components": 1, "axes": 1, "reach": 10, "rank": 5, "degree": 1},
    },
    "control": {"tolerance": 0.01},
}
CLOSED = {
    "grid": {"points": [48], "extent": [[0, 6.283185307179586]]},
    "equation": {
        "class_path": "Burgers",
        "init_args": {"nu": 0.1, "scheme": "central", "forcing": 0.0},
    },
    "time": {"until": 0.5, "dt": 0.01},
    "sampling": {"every": 2},
    "learning": LEARNING,
}
CLOSURE = {
    "model": {
        "class_path": "insitu.closure.Correction",
        "init_args": {"core": TAKEOVER["core"], "components": 1},
    }
}


def run(folder, case, **keys):
    file = folder / "case.yaml"
    file.write_text(yaml.safe_dump(case | keys))
    insitu.run(file, output=folder / "out")
    return json.loads((folder / "out" / "report.json").read_text())


def test_a_takeover_learns_and_takes_over(tmp_path):
    report = run(tmp_path, TAKEN_OVER, takeover=TAKEOVER)
    found = report["driver"]["takeover"]
    assert found["violated"] is False and found["steps_taken_over"] > 300
    assert found["estimated_error"] <= found["tolerance"] == 0.01
    assert sum(entry["steps"] for entry in found["log"]) == report["simulation"]["steps"] == 1000
    assert report["sampling"]["taken"] == 50 and report["simulation"]["time"] == pytest.approx(1.0)


def test_a_closure_with_saved_weights_acts(tmp_path):
    correction = Correction(PatchCore(1, 1, 10, 5, 1), 1).double()
    correction.core.coefficients[0, 0] = 1.0
    torch.save(correction.state_dict(), tmp_path / "weights.pt")
    reports = [
        run(tmp_path, CLOSED, closure=CLOSURE | weights)
        for weights in ({}, {"weights": str(tmp_path / "weights.pt")})
    ]
    assert all(report["driver"]["closure"]["evaluations"] == 50 for report in reports)
    errors = [report["learning"]["causal"]["models"]["Persistence"] for report in reports]
    assert errors[0] != errors[1]


def test_the_solver_alone_reports_no_driver(tmp_path):
    assert run(tmp_path, CLOSED)["driver"] == {}


def test_what_contradicts_itself_is_one_sentence(tmp_path):
    with pytest.raises(insitu.CaseError, match="a takeover or a closure, got both"):
        run(tmp_path, CLOSED, closure=CLOSURE, takeover=TAKEOVER)
    network = {
        "class_path": "torch.nn.Conv1d",
        "init_args": dict.fromkeys(("in_channels", "out_channels", "kernel_size"), 1),
    }
    with pytest.raises(insitu.CaseError, match="weights must name a file for Conv1d"):
        run(tmp_path, TAKEN_OVER, takeover=TAKEOVER | {"core": network})
    with pytest.raises(insitu.CaseError, match="takeover.tolerance must be > 0"):
        run(tmp_path, TAKEN_OVER, takeover=TAKEOVER | {"control": {"tolerance": 0.0}})

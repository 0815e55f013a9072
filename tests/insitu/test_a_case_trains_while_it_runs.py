"""The key `online` of a case: a model trained beside the simulation, reported, saved and drawn; nothing else changes by a bit."""

import json

import numpy as np
import pytest
import torch
import yaml
from torch import nn

import insitu
import solver
from insitu.config import load_case

TWO_PI = 6.283185307179586
CONVOLUTION = {"kernel_size": 5, "padding": 2, "padding_mode": "circular"}
CASE = {
    "device": "Serial",
    "grid": {"points": [32], "extent": [[0, TWO_PI]]},
    "equation": {"class_path": "Burgers", "init_args": {"nu": [0.1, 0.2, 0.4]}},
    "time": {"until": 1.0},
    "sampling": {"interval": 0.02},
    "learning": {"model": "DMD", "baselines": ["Persistence"]},
}
ONLINE = {
    "model": {
        "class_path": "torch.nn.Conv1d",
        "init_args": {"in_channels": 1, "out_channels": 1, **CONVOLUTION},
    },
    "optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.01}},
    "loss": {"class_path": "torch.nn.SmoothL1Loss"},
    "validation": {"class_path": "Members", "init_args": {"fraction": 0.3}},
    "batch_size": 8,
    "warm_up": 5,
    "steps": 4,
    "validate_every": 20,
    "seed": 3,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run the case with a training, or without; every run once."""
    known = {}

    def go(name, **online):
        if name not in known:
            folder = tmp_path_factory.mktemp(name)
            file = write(folder, **online)
            known[name] = insitu.run(file, output=folder / "out"), folder / "out"
        return known[name]

    return go


def write(folder, **online):
    file = folder / "case.yaml"
    file.write_text(yaml.safe_dump(CASE | ({"online": online} if online else {})))
    return file


def coefficients(folder):
    """Return the series as text, without the times, whose last digits hang on where launches begin."""
    rows = (folder / "series.csv").read_text().splitlines()
    return [row.split(",")[:1] + row.split(",")[2:] for row in rows]


def test_a_model_is_trained_reported_saved_and_drawn(run):
    report, folder = run("one", **ONLINE)
    online = json.loads((folder / "report.json").read_text())["online"]
    assert online == report.online
    assert online["steps"] == 4 * (50 - 5)
    assert online["pairs"] == {"training": 49 * 2, "validation": 49 * 1}
    assert online["leaked_pairs"] == 0 and online["ended"] is None
    assert len(online["loss"]) == 9 and online["loss"][-1] < 0.1 * online["loss"][0]
    assert online["validation"][-1]["step"] == online["steps"]
    state = torch.load(folder / "online.pt")
    nn.Conv1d(1, 1, **CONVOLUTION).double().load_state_dict(state)
    assert (folder / "figures" / "online.png").stat().st_size > 10_000


def test_a_run_that_diverges_reports_its_losses(tmp_path):
    case = yaml.safe_load(write(tmp_path, **ONLINE).read_text())
    case["time"] = {"steps": 400, "dt": 0.2, "force": True}
    case["sampling"] = {"every": 1}
    (tmp_path / "case.yaml").write_text(yaml.safe_dump(case))
    with pytest.raises(solver.DivergenceError):
        insitu.run(tmp_path / "case.yaml", output=tmp_path / "out")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["status"] == "diverged"
    assert "expected a finite loss" in report["online"]["ended"]


def test_reruns_of_a_case_have_the_same_bits(run):
    weights = [torch.load(run(name, **ONLINE)[1] / "online.pt") for name in ("one", "again")]
    assert torch.equal(weights[0]["weight"], weights[1]["weight"])


def test_weights_begin_with_the_seed_of_the_case(tmp_path):
    def first_weights(seed):
        case, _ = load_case(write(tmp_path, **(ONLINE | {"seed": seed})))
        return case.online.model.weight

    torch.manual_seed(0)
    expected = first_weights(3)
    torch.manual_seed(1)
    assert torch.equal(first_weights(3), expected)
    assert not torch.equal(first_weights(4), expected)


@pytest.mark.parametrize("mode", ["interleaved", "overlapped"])
def test_the_rest_of_the_report_is_that_of_a_run_without(run, mode):
    alone, folder = run("alone")
    names = {"interleaved": "one", "overlapped": "overlapped"}
    beside, other = run(names[mode], **(ONLINE | {"mode": mode}))
    assert beside.learning == alone.learning
    assert beside.sampling == alone.sampling
    assert not alone.online and beside.online["mode"] == mode
    assert coefficients(folder) == coefficients(other)


def test_a_surrogate_gets_its_statistics_and_its_interval(run):
    core = {
        "class_path": "torch.nn.Conv1d",
        "init_args": {"in_channels": 2, "out_channels": 1, **CONVOLUTION},
    }
    surrogate = {
        "class_path": "insitu.surrogates.Surrogate",
        "init_args": {"core": core, "components": 1, "parameters": 1},
    }
    _, folder = run(
        "surrogate", **(ONLINE | {"model": surrogate, "parameters": ["nu"], "stride": 2})
    )
    state = torch.load(folder / "online.pt", weights_only=False)
    assert state["_extra_state"].item() == pytest.approx(0.04)
    assert state["parameter_mean"].item() == pytest.approx(0.15), "the members trained on"
    assert np.isfinite(state["scale"].item()) and state["scale"].item() != 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "online.batch_size must be 1 or more, got 0"),
        ({"warm_up": 500}, "online.warm_up must be <= capacity 256, got 500"),
        (
            {"parameters": ["mu"]},
            "online.parameters must name numbers of the equation, Burgers has no number mu",
        ),
        (
            {"validation": {"class_path": "TimeBlocks", "init_args": {"block": 1}}},
            "block must be > the stride 1",
        ),
        ({"policy": "stack"}, "online"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        insitu.run(write(tmp_path, **(ONLINE | change)), output=tmp_path / "out")


def test_a_case_is_resolved_with_all_defaults_and_read_again(run):
    _, folder = run("one", **ONLINE)
    again, resolved = load_case(folder / "case.yaml")
    assert resolved["online"]["optimizer"]["init_args"]["lr"] == 0.01
    assert resolved["online"]["policy"] == "reservoir"
    assert again.online.validation.fraction == 0.3

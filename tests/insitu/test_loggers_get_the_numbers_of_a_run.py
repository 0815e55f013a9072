"""TensorBoard's event files hold the time steps, losses and decisions of a run; nothing is logged unless it is asked for."""

import json

import pytest
import yaml

from insitu.config import load_case
from insitu.pipeline import run_case

CASE = {
    "device": "Serial",
    "grid": {"points": [16], "extent": [[0, 6.283185307179586]]},
    "equation": {"class_path": "Burgers", "init_args": {"nu": [0.1, 0.2]}},
    "time": {"until": 1.0},
    "sampling": {"interval": 0.05},
    "learning": {
        "splits": ["causal"],
        "model": {"class_path": "LSTM", "init_args": {"hidden": 4, "training": {"epochs": 3}}},
        "baselines": ["Persistence"],
    },
    "online": {
        "model": {
            "class_path": "insitu.surrogates.Surrogate",
            "init_args": {
                "core": {
                    "class_path": "insitu.surrogates.ResidualCNN",
                    "init_args": {
                        "axes": 1,
                        "inputs": 1,
                        "outputs": 1,
                        "width": 2,
                        "dilations": [1],
                    },
                },
                "components": 1,
            },
        },
        "warm_up": 4,
        "validate_every": 5,
        "validation": {"class_path": "insitu.online.Members", "init_args": {"fraction": 0.5}},
    },
}
TAKEN_OVER = {
    "grid": {"points": [96], "extent": [[0, 1]]},
    "equation": {
        "class_path": "AdvectionDiffusion",
        "init_args": {"diffusivity": 0.02, "velocity": [0.5]},
    },
    "time": {"until": 1.0, "dt": 0.001},
    "sampling": {"every": 20},
    "learning": {"splits": ["causal"], "model": "DMD", "baselines": ["Persistence"]},
    "takeover": {
        "steps": 16,
        "core": {
            "class_path": "insitu.surrogates.PatchCore",
            "init_args": {"components": 1, "axes": 1, "reach": 10, "rank": 5, "degree": 1},
        },
        "control": {"tolerance": 0.01},
    },
    "logging": ["TensorBoard"],
}


def run(folder, **changes):
    (folder / "case.yaml").write_text(yaml.safe_dump(CASE | changes))
    return run_case(*load_case(folder / "case.yaml"), folder)


def test_event_files_hold_the_numbers_of_the_report(tmp_path):
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    report = run(tmp_path, logging=["TensorBoard"])
    events = accumulators.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()

    def logged(name):
        return [(event.step, event.value) for event in events.Scalars(name)]

    step, dt = logged("solver/dt")[-1]
    assert (step, dt) == (report.simulation["steps"], pytest.approx(report.simulation["dt"]))
    assert logged("solver/time")[-1][1] == pytest.approx(1.0)
    losses = report.learning["causal"]["models"]["LSTM"]["training"]["loss"]
    assert logged("training/causal/LSTM/loss") == [
        (n, pytest.approx(loss)) for n, loss in enumerate(losses)
    ]
    assert [loss for _, loss in logged("online/loss")] == pytest.approx(report.online["loss"])
    assert logged("online/loss")[0][0] == 5
    looks = report.online["validation"]
    for name, key in (("validation_loss", "loss"), ("persistence", "persistence")):
        expected = [(look["step"], pytest.approx(look[key])) for look in looks]
        assert logged(f"online/{name}") == expected


def test_a_takeover_logs_its_decisions_and_the_page_shows_them(tmp_path):
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    (tmp_path / "case.yaml").write_text(yaml.safe_dump(TAKEN_OVER))
    report = run_case(*load_case(tmp_path / "case.yaml"), tmp_path)
    events = accumulators.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    log = report.driver["takeover"]["log"]
    errors = events.Scalars("takeover/estimated_error")
    assert [event.value for event in errors] == pytest.approx([each["error"] for each in log])
    defects = [each for each in log if each["defect"] is not None]
    assert [event.step for event in events.Scalars("takeover/defect")] == [
        each["step"] for each in defects
    ]
    page = (tmp_path / "report.html").read_text()
    assert f"All {len(log)} decisions" in page and "Decisions of the takeover" in page


def test_nothing_is_logged_unless_asked_for(tmp_path):
    run(tmp_path, online=None)
    assert not (tmp_path / "tensorboard").exists()
    assert json.loads((tmp_path / "report.json").read_text())["case"]["logging"] == []

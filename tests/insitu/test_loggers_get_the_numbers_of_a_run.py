"""TensorBoard's event files hold the time steps, losses and decisions of a run; nothing is logged unless it is asked for."""

import json
import shutil

import pytest
import yaml

from insitu import scalars
from insitu.checkpoint import keeper, stops
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


def logged(folder, name):
    """Return what an event file holds of a name, as TensorBoard reads it: (number, value)."""
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulators.EventAccumulator(str(folder / "tensorboard" / name.partition("/")[0]))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def test_event_files_hold_the_numbers_of_the_report(tmp_path):
    report = run(tmp_path, logging=["TensorBoard"])
    require_numbers(tmp_path, report)


def test_a_stopped_run_that_went_on_has_logged_each_number_once(tmp_path, monkeypatch):
    asked, changes = iter(range(100)), {"logging": ["TensorBoard"], "checkpoint": {"steps": 5}}
    monkeypatch.setattr(scalars, "_PAUSE", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(keeper, "_LOOK", 0.0)
        patch.setattr(stops.Stops, "reason", lambda self, spare=0.0: 4 if next(asked) == 17 else 0)
        patch.setattr(keeper.Writing, "is_alive", property(lambda self: bool(self.join())))
        stopped = run(tmp_path, **changes)
        assert stopped.status == "unfinished" and stopped.online["loss"]
    shutil.rmtree(tmp_path / "checkpoints" / "step-18")  # as if killed: more is logged than kept
    report = run(tmp_path, **changes)
    steps = [step for step, _ in logged(tmp_path, "solver/time")]
    assert steps == sorted(set(steps)) and {1, 15, 16, 18} < set(steps)
    require_numbers(tmp_path, report)


def require_numbers(folder, report):
    step, dt = logged(folder, "solver/dt")[-1]
    assert (step, dt) == (report.simulation["steps"], pytest.approx(report.simulation["dt"]))
    assert logged(folder, "solver/time")[-1][1] == pytest.approx(1.0)
    losses = report.learning["causal"]["models"]["LSTM"]["training"]["loss"]
    assert logged(folder, "training/causal/LSTM/loss") == [
        (n, pytest.approx(loss)) for n, loss in enumerate(losses)
    ]
    assert [loss for _, loss in logged(folder, "online/loss")] == pytest.approx(
        report.online["loss"]
    )
    assert logged(folder, "online/loss")[0][0] == 5
    looks = report.online["validation"]
    for name, key in (("validation_loss", "loss"), ("persistence", "persistence")):
        expected = [(look["step"], pytest.approx(look[key])) for look in looks]
        assert logged(folder, f"online/{name}") == expected


def test_a_takeover_logs_its_decisions_and_the_page_shows_them(tmp_path):
    (tmp_path / "case.yaml").write_text(yaml.safe_dump(TAKEN_OVER))
    report = run_case(*load_case(tmp_path / "case.yaml"), tmp_path)
    log = report.driver["takeover"]["log"]
    errors = logged(tmp_path, "takeover/estimated_error")
    assert [value for _, value in errors] == pytest.approx([each["error"] for each in log])
    defects = [each for each in log if each["defect"] is not None]
    assert [step for step, _ in logged(tmp_path, "takeover/defect")] == [
        each["step"] for each in defects
    ]
    page = (tmp_path / "report.html").read_text()
    assert f"All {len(log)} decisions" in page and "Decisions of the takeover" in page


def test_nothing_is_logged_unless_asked_for(tmp_path):
    run(tmp_path, online=None)
    assert not (tmp_path / "tensorboard").exists()
    assert json.loads((tmp_path / "report.json").read_text())["case"]["logging"] == []

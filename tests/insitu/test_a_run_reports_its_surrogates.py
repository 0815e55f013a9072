"""A case with surrogates trains them on some members of its ensemble, and reports them on the others, beside persistence."""

import json

import pytest
import torch
import yaml

import insitu
from insitu.surrogates import ResidualCNN, Surrogate, Surrogates, Trajectories, evaluate_surrogates
from insitu.training import Training

CASE = {
    "device": "Serial",
    "grid": {"points": [32], "extent": [[0.0, 6.283185307179586]]},
    "equation": {
        "class_path": "solver.AdvectionDiffusion",
        "init_args": {
            "diffusivity": [0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.14, 0.16],
            "velocity": [1.0],
        },
    },
    "time": {"until": 3.0},
    "sampling": {"interval": 0.15},
    "learning": {
        "splits": ["causal"],
        "model": {"class_path": "insitu.models.DMD"},
        "baselines": [{"class_path": "insitu.models.Persistence"}],
        "surrogates": {
            "cores": [
                {
                    "class_path": "insitu.surrogates.ResidualCNN",
                    "init_args": {"width": 8, "dilations": [1]},
                },
                {
                    "class_path": "insitu.surrogates.FNO",
                    "init_args": {"modes": 3, "width": 8, "layers": 2},
                },
            ],
            "steps": 2,
            "training": {"epochs": 40, "batch_size": 8, "learning_rate": 5e-3, "final_rate": 0.01},
        },
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "case.yaml").write_text(yaml.safe_dump(CASE))
    insitu.run(folder / "case.yaml", output=folder / "out")
    return folder / "out"


def test_both_cores_beat_persistence_on_unseen_members_and_later_times(folder):
    report = json.loads((folder / "report.json").read_text())
    assert list(report["surrogates"]) == ["ResidualCNN", "FNO"]
    for numbers in report["surrogates"].values():
        assert numbers["field_error"] < 0.2 * numbers["persistence_error"]
        assert numbers["unseen_error"] < 0.2 * numbers["unseen_persistence_error"]
        assert numbers["epochs"] == 40 and numbers["weights"] > 0
    still = report["learning"]["causal"]["models"]["Persistence"]["field_error"]
    assert numbers["persistence_error"] == pytest.approx(still, rel=1e-2)
    assert any(stage["name"] == "surrogates" for stage in report["stages"])
    resolved = yaml.safe_load((folder / "case.yaml").read_text())
    assert resolved["learning"]["surrogates"]["cores"][1]["init_args"]["modes"] == 3


def test_the_saved_surrogate_is_the_one_that_was_judged(folder):
    saved = torch.load(folder / "surrogates.pt", weights_only=True)
    model = Surrogate(ResidualCNN(1, 2, 1, True, 8, 5, [1]).double(), 1, 1)
    model.load_state_dict(saved["ResidualCNN"])
    assert model.interval == pytest.approx(0.15)
    trained_on = (0.02, 0.04, 0.08, 0.1)  # 0.06 and 0.14 are unseen, 0.12 and 0.16 for validation
    assert model.parameter_mean.item() == pytest.approx(sum(trained_on) / 4)


def test_members_kept_from_training_leave_no_trace():
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(8, 6, 1, 16, dtype=torch.float64, generator=generator)
    settings = Surrogates(
        [lambda *sizes: ResidualCNN(*sizes, 4, 3, (1,))], 4, 1, Training(epochs=2, batch_size=8)
    )
    found = []
    for changed in (None, 2, 6, 3):
        given = states.clone()
        given[:, 5] = 0  # after the training span
        if changed is not None:
            given[changed] *= 2
            given[:, 4] = 0
        runs = Trajectories(given)
        found.append(evaluate_surrogates(settings, runs, 4, (True,), 1.0)["ResidualCNN"].surrogate)
    weights = [model.state_dict()["core.0.1.weight"] for model in found]
    assert torch.equal(weights[0], weights[1]) and torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[3])


def test_one_member_has_no_unseen_ones():
    states = torch.linspace(0, 1, 6, dtype=torch.float64)[None, :, None, None].expand(1, 6, 1, 16)
    settings = Surrogates(
        [lambda *sizes: ResidualCNN(*sizes, 4, 3, ())] * 2, training=Training(epochs=1)
    )
    found = evaluate_surrogates(settings, Trajectories(states), 4, (True,), 1.0)
    assert list(found) == ["ResidualCNN", "ResidualCNN 2"]
    assert found["ResidualCNN"].unseen_error is None


@pytest.mark.parametrize(("name", "value"), [("unseen", 1), ("steps", 0)])
def test_bad_settings_are_one_sentence(name, value):
    with pytest.raises(ValueError, match=rf"learning.surrogates.{name} must be >= .*, got {value}"):
        Surrogates([ResidualCNN], **{name: value})

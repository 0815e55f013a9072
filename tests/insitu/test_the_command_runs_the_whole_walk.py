"""insitu run, forecast and info, from a case file to a run directory."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.archives import arrays
from helpers.burgers_twin import miniapp

import insitu
from insitu import cli
from insitu.reduction import POD
from solver import DeviceError

CASE = Path(__file__).parent.parent.parent / "jobs" / "burgers.yaml"
SHORT = ["--time.steps=301", "--learning.model.init_args.training.epochs=4"]


def series(folder):
    return list(csv.DictReader((folder / "series.csv").read_text().splitlines()))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "out"
    assert cli.main(["run", str(CASE), "--output", str(folder), *SHORT]) == 0
    return folder


@pytest.fixture(scope="module")
def report(finished):
    return json.loads((finished / "report.json").read_text())


@pytest.fixture(scope="module")
def snapshots():
    x = np.arange(256) * (6.283185307 / 256)
    return miniapp(np.sin(x), 0.01, x[1], 1e-3, 301, trajectory=True)


def test_the_run_directory_is_complete(finished):
    figures = [
        "field_evolution",
        "modes",
        "mode_0_forecast",
        "mode_1_forecast",
        "mode_2_forecast",
        "training",
        "stage_times",
    ]
    for name in [
        "case.yaml",
        "report.html",
        "report.json",
        "series.csv",
        "basis.npz",
        "model.pt",
        *(f"figures/{f}.png" for f in figures),
    ]:
        assert (finished / name).stat().st_size > 100, name


def test_the_basis_is_that_of_the_solvers_snapshots(finished, snapshots):
    basis = arrays(finished / "basis.npz")
    assert basis["modes"].shape == (3, 256)
    values = np.linalg.svd(snapshots, compute_uv=False)
    assert basis["singular_values"][:3] == pytest.approx(values[:3], rel=1e-12)
    assert np.abs(basis["modes"] @ basis["modes"].T - np.eye(3)).max() < 1e-12
    assert not basis["mean"].any()


def test_the_series_holds_the_true_coefficients(finished, snapshots):
    rows = series(finished)
    basis = arrays(finished / "basis.npz")
    truth = snapshots @ basis["modes"].T
    assert [int(row["step"]) for row in rows] == list(range(1, 302))
    assert np.array([[float(row[f"a{k}"]) for k in range(3)] for row in rows]) == pytest.approx(
        truth, abs=1e-10
    )
    assert [row["span"] for row in rows].count("train") == 150
    assert rows[149]["LSTM_a0"] == "" and float(rows[150]["Persistence_a0"]) == pytest.approx(
        truth[149, 0]
    )


def test_nothing_crosses_in_the_time_loop_and_only_the_sampler_copies(report):
    loop = next(stage for stage in report["stages"] if stage["name"] == "time loop")
    assert loop["host_to_device"] == loop["device_to_host"] == loop["copies"] == 0
    assert loop["sampled"] == 301 * 256 * 8


def test_both_splits_are_reported_with_their_baselines(report):
    assert set(report["learning"]) == {"published", "causal"}
    for split in report["learning"].values():
        assert set(split["models"]) == {"LSTM", "DMD", "Persistence"}
        assert all(0 < model["field_error"] < 10 for model in split["models"].values())
        assert all(
            model["field_error"] >= split["projection_error"] * (1 - 1e-9)
            for model in split["models"].values()
        )
    published, causal = report["learning"]["published"], report["learning"]["causal"]
    assert causal["projection_error"] > published["projection_error"]


def test_persistence_is_what_it_says(report, snapshots):
    modes = np.linalg.svd(snapshots[:150], full_matrices=False)[2][:3]
    frozen = snapshots[149] @ modes.T @ modes
    error = np.linalg.norm(snapshots[150:] - frozen) / np.linalg.norm(snapshots[150:])
    assert report["learning"]["causal"]["models"]["Persistence"]["field_error"] == pytest.approx(
        error, rel=1e-9
    )


def test_the_resolved_case_runs_again_to_the_same_numbers(finished, report, tmp_path):
    again = insitu.run(finished / "case.yaml", output=tmp_path)
    assert json.loads(json.dumps(again.case)) == report["case"]
    for split, numbers in report["learning"].items():
        errors = {name: model["field_error"] for name, model in numbers["models"].items()}
        assert {n: m["field_error"] for n, m in again.learning[split]["models"].items()} == errors


def test_the_saved_model_forecasts_the_same(finished, capsys):
    assert cli.main(["forecast", str(finished)]) == 0
    assert "151 snapshots" in capsys.readouterr().out
    rows = series(finished)[150:]
    again = arrays(finished / "forecast.npz")
    recorded = np.array([[float(row[f"LSTM_a{k}"]) for k in range(3)] for row in rows])
    assert np.array_equal(again["coefficients"], recorded)
    assert again["time"] == pytest.approx([float(row["time"]) for row in rows])
    modes = POD.load(finished / "basis.npz")
    assert again["u"] == pytest.approx(modes.inverse_transform(torch.from_numpy(recorded)).numpy())


def test_changed_weights_change_the_forecast(finished, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    for name in ("case.yaml", "report.json", "basis.npz", "model.pt"):
        (folder / name).write_bytes((finished / name).read_bytes())
    assert cli.main(["forecast", str(folder), "--steps", "5"]) == 0
    before = arrays(folder / "forecast.npz")["u"]
    saved = torch.load(folder / "model.pt", weights_only=True)
    saved["model"]["network"]["linear.bias"] += 1e-3
    torch.save(saved, folder / "model.pt")
    assert cli.main(["forecast", str(folder), "--steps", "5"]) == 0
    assert not np.array_equal(arrays(folder / "forecast.npz")["u"], before)


def test_until_ends_the_run_first(tmp_path):
    report = insitu.run(
        CASE, {"time.until": 0.1, "learning.model.init_args.training.epochs": 1}, output=tmp_path
    )
    assert report.simulation["steps"] == 100 and report.status == "finished"
    assert report.table().count("LSTM") == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--time.foo=1"], "only keys of a case are expected, got --time.foo=1"),
        (["--time.until=soon"], "time.until must be float or null, got soon"),
        (["--grid.points=[0]"], "grid.points must be integers of 1 or more, got (0,)"),
        (
            ["--equation.nu=-1"],
            "nu must be a positive number, or one for each member of an ensemble, got -1.0",
        ),
        (["--device=Metal"], "device must be auto, cpu, gpu or one of"),
        (["--device=HIP"], "mode HIP"),
        (["--dtype=float16"], "dtype must be 'float64', 'float32', got float16"),
        (["--time.dt=0.5"], "at most the stability limit 0.02"),
        (["--time.steps=0"], "time.steps must be 1 or more, got 0"),
        (["--sampling.every=0"], "sampling.every must be 1 or more"),
        (["--sampling.window=3"], "at least 7 snapshots"),
        (["--learning.train_fraction=1.5"], "train_fraction must lie between 0 and 1"),
        (["--learning.model=insitu.models.Nothing"], "has no attribute 'Nothing'"),
        (["--initial=waves"], "initial must be one of"),
        (["--output=/proc/nowhere"], "the output directory must be writable"),
    ],
)
def test_bad_input_is_one_sentence_and_code_2(arguments, sentence, capsys, tmp_path):
    given = (
        arguments
        if arguments[0].startswith("--output")
        else ["--output", str(tmp_path), *arguments]
    )
    assert cli.main(["run", str(CASE), *given]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("insitu: error: ") and sentence in error and "\n" not in error


def test_a_missing_case_an_unknown_key_in_a_file_and_a_run_that_is_none(tmp_path, capsys):
    assert cli.main(["run", str(tmp_path / "no.yaml")]) == 2
    assert "a case file is expected" in capsys.readouterr().err
    (tmp_path / "typo.yaml").write_text(CASE.read_text().replace("  steps:", "  stepz:"))
    assert cli.main(["run", str(tmp_path / "typo.yaml"), "--output", str(tmp_path)]) == 2
    assert "stepz" in capsys.readouterr().err
    assert cli.main(["forecast", str(tmp_path)]) == 2
    assert "model.pt" in capsys.readouterr().err


def test_a_diverging_run_ends_with_3_and_saves_what_it_had(tmp_path, capsys):
    flags = ["--time.dt=0.1", "--time.force=true", "--time.steps=400", "--output", str(tmp_path)]
    assert cli.main(["run", str(CASE), *flags]) == 3
    error = capsys.readouterr().err
    assert "must stay finite" in error and "Traceback" not in error
    saved, report = (
        arrays(tmp_path / "snapshots.npz"),
        json.loads((tmp_path / "report.json").read_text()),
    )
    assert report["status"] == "diverged" and report["error"] in error
    assert len(saved["u"]) == report["simulation"]["steps"] > 0
    assert np.isfinite(saved["u"]).all()


def test_a_run_that_fails_later_says_so_in_its_report(tmp_path, capsys):
    arguments = ["run", str(CASE), "--output", str(tmp_path), "--time.steps=101"]
    assert cli.main([*arguments, "--learning.reduction.init_args.rank=300"]) == 2
    assert capsys.readouterr().err.count("\n") >= 1
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["status"] == "failed" and "300" in report["error"]
    assert len(arrays(tmp_path / "snapshots.npz")["u"]) == 101
    assert cli.main(["forecast", str(tmp_path)]) == 2


def test_a_device_that_fails_during_the_run_is_not_bad_input(tmp_path, monkeypatch, capsys):
    def fault(*_):
        raise DeviceError("CUDA device 0: stream synchronize failed with status 700")

    monkeypatch.setattr("insitu.sampler.Sampler.check", fault)
    arguments = ["run", str(CASE), "--output", str(tmp_path), "--time.steps=101"]
    assert cli.main(arguments) == 1
    assert "the device failed during the run" in capsys.readouterr().err
    assert json.loads((tmp_path / "report.json").read_text())["status"] == "failed"


def test_an_earlier_runs_results_do_not_survive(tmp_path):
    for name in ("model.pt", "basis.npz", "series.csv", "forecast.npz"):
        (tmp_path / name).write_text("old")
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "fields.zarr").mkdir()
    flags = ["--time.dt=0.1", "--time.force=true", "--time.steps=400", "--output", str(tmp_path)]
    assert cli.main(["run", str(CASE), *flags]) == 3
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {
        "case.yaml",
        "report.html",
        "report.json",
        "snapshots.npz",
        "state.json",
        "notes.txt",
    }
    assert not (tmp_path / "fields.zarr").exists()


def test_debug_shows_the_traceback():
    with pytest.raises(insitu.CaseError):
        cli.main(["run", "nowhere.yaml", "--debug"])


def test_print_config_help_and_info(capsys):
    assert cli.main(["run", str(CASE), "--print_config"]) == 0
    assert "scheme: miniapp" in capsys.readouterr().out
    assert cli.main(["run", "--help"]) == 0
    text = capsys.readouterr().out
    assert "--time.dt" in text and "null takes 0.9 of the stability limit" in text
    assert cli.main(["info"]) == 0
    assert "modes        built: Serial, OpenMP" in capsys.readouterr().out
    assert cli.main(["unheard"]) == 2


def test_a_launcher_of_another_mpi_is_detected():
    code = "import sys; from insitu.cli import main; sys.exit(main(['run', sys.argv[1]]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(CASE)],
        env={**os.environ, "OMPI_COMM_WORLD_SIZE": "4"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and "the launcher started 4 ranks, MPI sees 1" in done.stderr

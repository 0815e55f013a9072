"""A run that is stopped shows itself as unfinished, and once it has gone on its field file is that of one without a stop."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
import zarr

import insitu
from insitu import cli
from insitu.fields import Fields, files, layout, writer
from solver import DivergenceError

CASE = Path(__file__).parent.parent.parent / "jobs" / "burgers.yaml"
SHORT = ["--time.steps=300", "--learning.model=DMD", "--device=Serial", "--checkpoint.steps=50"]


@pytest.mark.parametrize("kind", ["vtkhdf", "zarr"])
@pytest.mark.parametrize("is_large", [False, True], ids=["small states", "large states"])
def test_the_files_are_alike(kind, is_large, tmp_path, monkeypatch):
    if is_large:  # each of them written alone, and shown at once
        monkeypatch.setattr(layout, "_BATCH", 1)
        monkeypatch.setattr(writer, "_PATIENCE", 0.0)

    def run(name, *flags):
        output = ["--output", str(tmp_path / name), f"--fields.format={kind}", "--fields.every=20"]
        assert cli.main(["run", str(CASE), *output, *SHORT, *flags]) == 0

    run("whole")
    run("parts", "--time-limit=0")
    page = (tmp_path / "parts" / "report.html").read_text()
    assert "The run is not finished." in page and "Stopped by: time budget." in page
    with Fields(tmp_path / "parts" / f"fields.{kind}") as fields:
        assert 0 < len(fields) < 16
    run("parts", "--resume")
    assert "The run is not finished." not in (tmp_path / "parts" / "report.html").read_text()
    with (
        Fields(tmp_path / "whole" / f"fields.{kind}") as whole,
        Fields(tmp_path / "parts" / f"fields.{kind}") as parts,
    ):
        np.testing.assert_array_equal(whole.steps, np.arange(0, 301, 20))
        np.testing.assert_array_equal(parts.steps, whole.steps)
        np.testing.assert_array_equal(parts.times, whole.times)
        for n in range(16):
            np.testing.assert_array_equal(parts.state("u", n), whole.state("u", n))


@pytest.mark.parametrize("kind", ["vtkhdf", "zarr"])
def test_a_file_that_went_away_between_is_told(kind, tmp_path):
    flags = [f"--fields.format={kind}", "--fields.every=20", *SHORT, "--output", str(tmp_path)]
    assert cli.main(["run", str(CASE), *flags, "--time-limit=0"]) == 0
    path = tmp_path / f"fields.{kind}"
    path.rename(tmp_path / "elsewhere")
    with pytest.warns(UserWarning, match=rf"fields.{kind} must hold the \d+ states .* it holds 0"):
        assert cli.main(["run", str(CASE), *flags, "--resume"]) == 0
    with Fields(path) as fields:
        assert fields.steps[0] > 0 and fields.steps[-1] == 300


def test_a_failure_leaves_the_states_that_a_checkpoint_counts_on(tmp_path):
    """Here the solver goes back to its beginning, which is where it last looked for what is not finite."""
    case = {
        "grid": {"points": [48], "extent": [[0, 6.283185307179586]]},
        "equation": {
            "class_path": "Burgers",
            "init_args": {"nu": 0.1, "scheme": "central", "forcing": 0.0},
        },
        "time": {"steps": 50, "dt": 0.01},
        "sampling": {"every": 2},
        "learning": {"splits": ["published"], "model": {"class_path": "insitu.models.DMD"}},
        "closure": {
            "model": {"class_path": "helpers.networks.Spoiling", "init_args": {"after": 35}}
        },
        "checkpoint": {"steps": 10},
        "fields": {"format": "zarr", "every": 2},
    }
    (tmp_path / "case.yaml").write_text(yaml.safe_dump(case))
    with pytest.raises(DivergenceError):
        insitu.run(tmp_path / "case.yaml", output=tmp_path / "out")
    kept = [int(each.name[5:]) for each in (tmp_path / "out" / "checkpoints").glob("step-*")]
    with Fields(tmp_path / "out" / "fields.zarr") as fields:
        assert max(kept) > 0 and fields.steps[-1] >= max(kept)


def test_a_kill_while_what_other_ranks_wrote_is_removed_loses_nothing(tmp_path, monkeypatch):
    flags = ["--fields.format=zarr", "--fields.every=20", *SHORT, "--output", str(tmp_path)]
    assert cli.main(["run", str(CASE), *flags, "--time-limit=0"]) == 0
    path = tmp_path / "fields.zarr"
    with Fields(path) as fields:
        before = [fields.state("u", n) for n in range(len(fields))]
    zarr.open_group(path, mode="r+", use_consolidated=False).attrs["layout"] = "of other ranks"

    def die(folder):
        for file in folder.rglob("*"):
            if file.is_file() and file.name != "zarr.json":
                file.unlink()
        raise SystemExit(9)  # stands for a kill

    with monkeypatch.context() as killing:
        killing.setattr(files, "shutil", SimpleNamespace(rmtree=die))
        assert cli.main(["run", str(CASE), *flags, "--resume"]) != 0
    assert cli.main(["run", str(CASE), *flags, "--resume"]) == 0
    with Fields(path) as fields:
        np.testing.assert_array_equal(fields.steps, np.arange(0, 301, 20))
        for n, expected in enumerate(before):
            np.testing.assert_array_equal(fields.state("u", n), expected)
    assert not list(tmp_path.glob(".fields*"))


def test_states_that_a_killed_process_made_room_for_are_not_there(tmp_path):
    flags = ["--fields.format=zarr", "--fields.every=20", *SHORT, "--output", str(tmp_path)]
    assert cli.main(["run", str(CASE), *flags]) == 0
    group = zarr.open_group(tmp_path / "fields.zarr", mode="r+", use_consolidated=False)
    for name in ("time", "step", "u"):
        group[name].resize((30, *group[name].shape[1:]))
    with Fields(tmp_path / "fields.zarr") as fields:
        assert len(fields) == 16 and fields.count_until(300) == 16
        assert fields.times[-1] == pytest.approx(0.3)

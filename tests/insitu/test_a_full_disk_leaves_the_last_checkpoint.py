"""A checkpoint for which there is no room ends the run with one sentence; the one before is there, and is gone on from."""

import json
import resource
from pathlib import Path

import pytest
from helpers.runs import differences, leave_figures_out

import insitu
from insitu.checkpoint import CheckpointError, files, keeper

CASE = Path(__file__).parent.parent.parent / "jobs" / "burgers.yaml"
FLAGS = {
    "time.steps": 80,
    "learning.model": "DMD",
    "learning.splits": ["causal"],
    "device": "Serial",
    "checkpoint.steps": 20,
    "checkpoint.keep_finished": True,
}
ROOM = 100_000  # bytes of a file: 20 snapshots of 256 values fit, 60 do not


def run(folder):
    return insitu.run(CASE, FLAGS, folder)


@pytest.fixture
def little_room(monkeypatch):
    """Let no file grow beyond ROOM, as far as checkpoints go."""
    write, soft = files.write, resource.getrlimit(resource.RLIMIT_FSIZE)

    def write_with_little(*given):
        resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, soft[1]))
        try:
            return write(*given)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, soft)

    with monkeypatch.context() as patch:
        leave_figures_out(patch)
        patch.setattr("insitu.checkpoint.writing.write", write_with_little)
        patch.setattr(keeper, "_LOOK", 0.0)
        patch.setattr(keeper.Writing, "is_alive", property(lambda self: bool(self.join())))
        yield patch


def test_the_run_ends_and_goes_on_when_there_is_room(tmp_path, little_room):
    with pytest.raises(
        CheckpointError, match=r"checkpoint step-60 must be written to .*'File too large'.*step-40"
    ):
        run(tmp_path / "full")
    standing = json.loads((tmp_path / "full" / "state.json").read_text())
    assert (standing["status"], standing["checkpoint"]) == ("failed", "step-40")
    kept = sorted(each.name for each in (tmp_path / "full" / "checkpoints").iterdir())
    assert kept == ["step-20", "step-40"]
    little_room.undo()
    assert run(tmp_path / "full").status == "finished"
    run(tmp_path / "whole")
    assert differences(tmp_path / "whole", tmp_path / "full") == []

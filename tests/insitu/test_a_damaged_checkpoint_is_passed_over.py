"""A checkpoint that was cut off or changed is found out, told, and the one before it used; where all are, nothing is."""

import json
import shutil
import signal
from pathlib import Path

import pytest
from helpers.processes import environment, run_python

from insitu import CaseError
from insitu.checkpoint import Checkpoint, Keeper, keeper, stops
from insitu.config import load_case
from insitu.pipeline import run_case

CASE = Path(__file__).parent.parent.parent / "jobs" / "burgers.yaml"
FLAGS = {
    "time.steps": 60,
    "learning.model": "DMD",
    "learning.splits": ["causal"],
    "device": "Serial",
    "checkpoint.steps": 10,
}


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run directory with the checkpoints step-20 and step-30, and the resolved case."""
    folder = tmp_path_factory.mktemp("stopped")
    looks = iter(range(100))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keeper, "_LOOK", 0.0)
        patch.setattr(stops.Stops, "reason", lambda self, spare=0.0: 4 if next(looks) == 2 else 0)
        patch.setattr(keeper.Writing, "is_alive", property(lambda self: bool(self.join())))
        case, resolved = load_case(CASE, FLAGS)
        assert run_case(case, resolved, folder).status == "unfinished"
    assert names(folder) == ["step-20", "step-30"]
    return folder, resolved


@pytest.fixture
def folder(stopped, tmp_path):
    shutil.copytree(stopped[0], tmp_path / "run")
    return tmp_path / "run"


def names(folder):
    return sorted(each.name for each in (folder / "checkpoints").iterdir())


def cut(file):
    file.write_bytes(file.read_bytes()[:-1])


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("name", ["rank-0000.bin", "state.pt", "manifest.json"])
@pytest.mark.parametrize("damage", [cut, flip, Path.unlink])
def test_the_one_before_is_used(stopped, folder, name, damage):
    damage(folder / "checkpoints" / "step-30" / name)
    with pytest.warns(RuntimeWarning, match=rf"step-30: .*{name} must .*; step-20 is used instead"):
        found = Keeper(Checkpoint(), stopped[1], folder).found
    assert found == "step-20"


def test_a_whole_one_is_used_in_silence(stopped, folder):
    assert Keeper(Checkpoint(), stopped[1], folder).found == "step-30"


def test_all_damaged_is_an_error_that_names_the_way_out(stopped, folder):
    for name in names(folder):
        flip(folder / "checkpoints" / name / "rank-0000.bin")
    with pytest.raises(
        CaseError, match=r"none is \(step-30: .*contents changed; step-20: .*--resume never"
    ):
        Keeper(Checkpoint(), stopped[1], folder)
    assert Keeper(Checkpoint(), stopped[1], folder, resume="never").found is None


def test_another_case_is_refused_and_one_that_ranks_another_way_is_not(stopped, folder):
    other = stopped[1] | {"time": stopped[1]["time"] | {"steps": 70}}
    with pytest.raises(CaseError, match=r"time.steps is 70 and was 60; give the case as it was"):
        Keeper(Checkpoint(), other, folder)
    assert Keeper(Checkpoint(), stopped[1] | {"ranks": [1]}, folder).found == "step-30"


def test_nothing_to_resume_is_an_error_where_it_is_asked_for(stopped, tmp_path):
    assert Keeper(Checkpoint(), stopped[1], tmp_path).found is None
    with pytest.raises(CaseError, match="must hold a checkpoint to resume from, it holds none"):
        Keeper(Checkpoint(), stopped[1], tmp_path, resume="always")


KILLED = """
import os, signal, sys
import insitu, insitu.checkpoint.files as files
flushes = iter(range(100))
flush = files.flush
def kill(file):
    if next(flushes) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    flush(file)
files.flush = kill
import json
insitu.run(sys.argv[1], json.loads(sys.argv[4]), sys.argv[2])
"""


@pytest.mark.parametrize("flush", [3, 5], ids=["array", "manifest"])
def test_a_kill_in_the_midst_of_writing_costs_that_one(stopped, tmp_path, flush):
    status, _, _ = run_python(KILLED, CASE, tmp_path, flush, json.dumps(FLAGS), **environment())
    assert status == -signal.SIGKILL
    unfinished = [name for name in names(tmp_path) if name.endswith(".tmp")]
    assert len(unfinished) == 1 and len(names(tmp_path)) == 2
    assert json.loads((tmp_path / "state.json").read_text())["status"] == "unfinished"
    found = Keeper(Checkpoint(), stopped[1], tmp_path).found
    assert found == "step-10" and found in names(tmp_path)

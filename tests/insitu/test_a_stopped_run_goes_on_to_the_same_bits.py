"""A run that is stopped writes a checkpoint, says so, and the same command goes on from there to what it would have been."""

import json
import os
import signal
from pathlib import Path

import pytest
from helpers.runs import differences, leave_figures_out

from insitu import cli
from insitu.report import Report

CASE = Path(__file__).parent.parent.parent / "jobs" / "burgers.yaml"
SHORT = ["--time.steps=300", "--learning.model=DMD", "--device=Serial"]
SHORT += ["--checkpoint.steps=50", "--checkpoint.keep_finished=true"]


def run(folder, *flags):
    return cli.main(["run", str(CASE), "--output", str(folder), *SHORT, *flags])


def standing(folder):
    return json.loads((folder / "state.json").read_text())


@pytest.fixture(scope="module", autouse=True)
def no_figures():
    with pytest.MonkeyPatch.context() as patch:
        leave_figures_out(patch)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert run(folder) == 0
    assert standing(folder)["status"] == "finished"
    return folder


def stop_by_time(folder, monkeypatch):
    return ["--time-limit=0"]


def stop_by_file(folder, monkeypatch):
    (folder / "STOP").touch()
    return []


def stop_by_signal(number):
    def stop(folder, monkeypatch):
        display = cli.Display.__call__

        def show(self, stage, done, total):
            display(self, stage, done, total)
            if done == 150:
                os.kill(os.getpid(), number)

        monkeypatch.setattr(cli.Display, "__call__", show)
        return []

    return stop


@pytest.mark.parametrize(
    ("ask", "reason"),
    [
        (stop_by_time, "time budget"),
        (stop_by_file, "STOP file"),
        (stop_by_signal(signal.SIGTERM), "signal SIGTERM"),
        (stop_by_signal(signal.SIGUSR1), "signal SIGUSR1"),
    ],
    ids=["time", "file", "term", "usr1"],
)
def test_every_stop_is_a_checkpoint_and_a_way_on(tmp_path, whole, monkeypatch, ask, reason):
    with monkeypatch.context() as patch:
        assert run(tmp_path, *ask(tmp_path, patch)) == 0
    stopped = standing(tmp_path)
    assert (stopped["status"], stopped["reason"]) == ("unfinished", reason)
    assert 0 < stopped["step"] < 300 and stopped["checkpoint"] == f"step-{stopped['step']}"
    assert json.loads((tmp_path / "report.json").read_text())["status"] == "unfinished"
    assert not (tmp_path / "STOP").exists()
    assert run(tmp_path, "--resume") == 0
    assert standing(tmp_path)["status"] == "finished"
    assert differences(whole, tmp_path) == []


@pytest.mark.parametrize(
    ("flags", "expected"),
    [([], ("unfinished", None)), (["--time-limit=0"], ("unfinished", "time budget"))],
    ids=["to the end", "stopped"],
)
def test_a_run_is_finished_after_its_page_and_stopped_before_it(
    tmp_path, monkeypatch, flags, expected
):
    seen = []
    monkeypatch.setattr(Report, "show", lambda *_: seen.append(standing(tmp_path)))
    assert run(tmp_path, *flags) == 0
    assert [(each["status"], each["reason"]) for each in seen] == [expected]
    assert flags or standing(tmp_path)["status"] == "finished"

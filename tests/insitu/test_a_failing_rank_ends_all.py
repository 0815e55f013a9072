"""Whatever ends one rank of `mpirun -n N insitu run` ends all of them, soon, with an exit code and one message."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.processes import environment, finish, start_ranks

CASE = Path(__file__).parent.parent.parent / "jobs" / "burgers.yaml"
SECONDS = 30  # five are promised, of cores that are not busy with other tests

FAULTY = '''
import ctypes, os, sys, time
from pathlib import Path
import numpy as np
from mpi4py import MPI

FAULTS = {
    "raise": lambda: 1 / 0,
    "exit": lambda: sys.exit(0),
    "interrupt": lambda: (_ for _ in ()).throw(KeyboardInterrupt),
    "dereference": lambda: ctypes.string_at(0),
    "wait": lambda: time.sleep(100),
}
WAITS = {
    "collective": MPI.COMM_WORLD.Barrier,
    "kernel": lambda: ctypes.PyDLL(None).sleep(100),
    "end": lambda: None,
}

class Faulty:
    """An initial condition that fails on some ranks while the others wait."""

    def __init__(self, fault: str, ranks: list[int], others: str = "collective", early: bool = False):
        self.fault, self.ranks, self.others = fault, ranks, others
        if early:
            self.fail()

    def __call__(self, x: np.ndarray) -> np.ndarray:
        self.fail()
        WAITS[self.others]()
        return np.sin(x)

    def fail(self):
        rank = MPI.COMM_WORLD.rank
        Path(os.environ["MARKS"], str(rank)).write_text(str(os.getpid()))
        if rank in self.ranks:
            FAULTS[self.fault]()
'''


@pytest.fixture
def start(tmp_path):
    (tmp_path / "faulty.py").write_text(FAULTY)
    (tmp_path / "marks").mkdir()

    def started(fault, ranks, *flags, count=2, others="collective", early=False):
        wishes = f"fault: {fault}, ranks: {ranks}, others: {others}, early: {early}"
        initial = f"{{class_path: faulty.Faulty, init_args: {{{wishes}}}}}"
        command = [sys.executable, "-m", "insitu", "run", CASE, f"--initial={initial}", *flags]
        variables = {"PYTHONPATH": tmp_path, "MARKS": tmp_path / "marks"}
        return start_ranks(count, *command, "--output", tmp_path / "out", **variables)

    return started


def end(process, marks, rank):
    """Wait for the end; return (exit code, stderr, seconds since the rank failed)."""
    status, _, err = finish(process)
    return status, err, time.time() - (marks / str(rank)).stat().st_mtime


@pytest.mark.parametrize("others", ["collective", "kernel"])
def test_an_exception_is_told_once(start, tmp_path, others):
    status, err, seconds = end(start("raise", [1], others=others), tmp_path / "marks", 1)
    assert status and seconds < SECONDS
    assert err.count("insitu: error") == 1
    assert "insitu: error on rank 1: ZeroDivisionError: division by zero" in err


def test_of_some_ranks_that_fail_the_lowest_speaks(start, tmp_path):
    status, err, seconds = end(start("raise", [1, 2], count=3), tmp_path / "marks", 1)
    assert status and seconds < SECONDS
    assert err.count("insitu: error") == 1
    assert "insitu: error on rank 1: ZeroDivisionError: division by zero" in err


def test_of_all_ranks_that_fail_the_first_speaks(start, tmp_path):
    process = start("raise", [0, 1], "--debug", early=True)
    status, err, seconds = end(process, tmp_path / "marks", 0)
    assert status and seconds < SECONDS
    assert err.count("insitu: error") == err.count("Traceback") == 1
    assert "division by zero" in err


def test_sys_exit_before_the_end_is_an_error(start, tmp_path):
    status, err, seconds = end(start("exit", [1], others="end"), tmp_path / "marks", 1)
    assert status and seconds < SECONDS
    assert err.count("insitu: error") == 1
    assert "on rank 1: the command must go to its end, got sys.exit(0)" in err


def test_an_interrupt_ends_all(start, tmp_path):
    status, err, seconds = end(start("interrupt", [1]), tmp_path / "marks", 1)
    assert status and seconds < SECONDS
    assert "insitu: error on rank 1: interrupted" in err


def test_a_null_pointer_says_where(start, tmp_path):
    status, err, seconds = end(start("dereference", [1]), tmp_path / "marks", 1)
    assert status and seconds < SECONDS
    assert "Fatal Python error: Segmentation fault" in err and "faulty.py" in err


def test_a_rank_killed_from_outside_ends_all(start, tmp_path):
    process, mark = start("wait", [1]), tmp_path / "marks" / "1"
    while not (mark.exists() and mark.read_text()):
        assert process.poll() is None, finish(process)
        time.sleep(0.05)
    os.kill(int(mark.read_text()), signal.SIGKILL)
    mark.touch()
    status, _, seconds = end(process, mark.parent, 1)
    assert status and seconds < SECONDS


@pytest.mark.parametrize("ranks", ["1", "01"])
def test_an_import_that_fails_ends_all(tmp_path, ranks):
    (tmp_path / "tqdm.py").write_text(
        "import os, time\n"
        "rank = os.environ.get('PMI_RANK') or os.environ['OMPI_COMM_WORLD_RANK']\n"
        f"assert rank not in {ranks!r}, 'a broken node'\n"
        "def tqdm(): pass\n"
    )
    command = [sys.executable, "-m", "insitu", "info"]
    status, out, err = finish(start_ranks(2, *command, PYTHONPATH=tmp_path), timeout=60)
    assert status and out.count("kernel cache") == 0
    assert err.count("AssertionError: a broken node") == 1


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["run", "nowhere.yaml"], "a case file is expected, nowhere.yaml is none"),
        (["forecast", "out"], "insitu forecast runs on one rank, got 2"),
    ],
)
def test_bad_input_is_told_once(command, message):
    status, out, err = finish(start_ranks(2, sys.executable, "-m", "insitu", *command))
    assert status == 2 and out == ""
    assert err.count("insitu: error: ") == 1 and message in err


def test_help_is_shown_once():
    status, out, err = finish(start_ranks(2, sys.executable, "-m", "insitu", "run", "--help"))
    assert (status, err) == (0, "") and out.count("usage: insitu run") == 1


def ranks_apart(*flags):
    """Return the arguments of mpirun that give rank 1 other flags than rank 0."""
    command = [sys.executable, "-m", "insitu", "run", CASE]
    return [*command, ":", "-n", "1", *command, *flags]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--time.dt=0.002"],
            "time.dt must be the same on all ranks, got 0.001 on rank 0 and 0.002",
        ),
        (["--output=there"], "--output must be the same on all ranks, got 'out/burgers' on rank 0"),
        (["--help"], "the command must be the same on all ranks, got 'run' on rank 0 and 'run "),
    ],
)
def test_different_cases_on_different_ranks_are_refused(flags, message):
    status, out, err = finish(start_ranks(1, *ranks_apart(*flags)))
    assert status == 2 and out == ""
    assert err.count("insitu: error") == 1 and message in err


def run_alone(*arguments, **variables):
    command = [sys.executable, "-m", "insitu", "run", CASE, *arguments]
    return subprocess.run(command, env=environment(**variables), capture_output=True, text=True)


@pytest.mark.parametrize("rank", [0, 1])
def test_ranks_that_see_only_themselves_are_an_error_told_by_the_first(rank):
    done = run_alone(OMPI_COMM_WORLD_SIZE=3, OMPI_COMM_WORLD_RANK=rank)
    assert done.returncode == 2
    assert ("the launcher started 3 ranks, MPI sees 1" in done.stderr) == (rank == 0)


def test_an_allocation_without_a_launcher_is_one_rank(tmp_path):
    short = ["--time.steps=40", "--learning.model=Persistence", "--output", tmp_path]
    done = run_alone(*short, SLURM_NTASKS=4, SLURM_JOB_ID=1, SLURM_NPROCS=4)
    assert done.returncode == 0, done.stderr

"""Under mpirun a test that fails on one rank fails on all, is told once, and no failure makes the run hang."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.processes import finish, start_ranks

TESTS = Path(__file__).parent

CONFTEST = """
from mpi4py import MPI
import pytest
from helpers import ranks
ranks.PATIENCE = 1

@pytest.fixture
def comm():
    return MPI.COMM_WORLD
"""


@pytest.fixture
def suite(tmp_path):
    """Run a suite of two files, one of them for all ranks together."""
    (tmp_path / "mpi").mkdir()
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n")
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["helpers.ranks"]\n')
    (tmp_path / "mpi" / "conftest.py").write_text(CONFTEST)

    def run(together="", *arguments, alone=(), count=3):
        (tmp_path / "mpi" / "test_together.py").write_text(f"import pytest\n{together}")
        for number, text in enumerate(alone):
            (tmp_path / f"test_alone_{number}.py").write_text(text)
        command = [sys.executable, "-m", "pytest", "-p", "pytest_timeout", "-q", "--color=no"]
        few = {"PYTHONPATH": TESTS, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": 1}
        return finish(start_ranks(count, *command, *arguments, tmp_path, **few), timeout=60)

    return run


def test_a_failure_on_one_rank_is_told_once(suite):
    test = "def test_it(comm):\n    assert comm.rank != 1\n\ndef test_next(comm):\n    assert comm.allreduce(1) == 3\n"
    status, out, err = suite(test)
    assert status == 1 and "Traceback" not in err
    assert out.count("E       assert 1 != 1") == 1 and "failed on 1 of 3; told here: 1" in out
    assert "1 failed, 1 passed" in out


def test_other_words_of_other_ranks_are_told_too(suite):
    _, out, _ = suite("def test_it(comm):\n    assert comm.rank == 0\n")
    assert "failed on 1, 2 of 3; told here: 1" in out
    assert "assert 1 == 0" in out and "assert 2 == 0" in out and "1 failed" in out


def test_ranks_that_wait_for_a_failed_one_are_aborted(suite):
    status, out, err = suite("def test_it(comm):\n    assert comm.rank != 2\n    comm.Barrier()\n")
    assert status and "passed" not in out
    assert err.count("test_it failed here, the others wait for this rank") == 1
    assert "rank 2: " in err and "assert 2 != 2" in err


def test_ranks_that_wait_for_each_other_say_where(suite):
    test = (
        "@pytest.mark.timeout(2)\ndef test_it(comm):\n    comm.recv(source=(comm.rank + 1) % 3)\n"
    )
    status, _, err = suite(test)
    assert status
    assert err.count("test_it is not done after 2 s") == err.count("comm.recv(source=") == 3


def test_a_test_of_one_rank_that_waits_for_the_others_ends_all(suite):
    test = "import pytest\nfrom mpi4py import MPI\n\n@pytest.mark.timeout(2)\ndef test_it():\n    MPI.COMM_WORLD.Barrier()\n"
    status, _, err = suite(alone=[test])
    assert status
    assert err.count("test_it is not done after 2 s") == err.count("MPI.COMM_WORLD.Barrier()") == 1


def test_other_tests_are_run_once_by_one_rank(suite, tmp_path):
    test = f"def test_it():\n    open({str(tmp_path / 'ran')!r}, 'a').write('x')\n"
    fails = "import os\ndef test_it():\n    assert 'PMI_RANK' in os.environ\n"
    status, out, err = suite(alone=[test] * 5 + [fails])
    assert status == 1 and "Traceback" not in err
    assert (tmp_path / "ran").read_text() == "xxxxx"
    assert "1 failed, 5 passed" in out and out.count("E       Assert") == 1


def test_a_collection_error_is_told_once(suite):
    status, out, _ = suite("import nowhere\n")
    assert status and out.count("E   ModuleNotFoundError: No module named 'nowhere'") == 1


def test_a_test_that_no_run_has_ranks_for_fails_the_count(suite, tmp_path):
    record, script = tmp_path / "record", TESTS.parent / ".ci" / "check_ranks.py"
    test = "@pytest.mark.ranks({})\ndef test_it(comm):\n    assert comm.size == 2\n"
    suite(test.format("2, 5"), "--record-ranks", record, count=1)
    check = [sys.executable, script, record]
    short = subprocess.run(check, capture_output=True, text=True)
    assert short.returncode == 1 and "test_it was run on no number of ranks" in short.stderr
    status, out, _ = suite(test.format("2, 5"), "--record-ranks", record, count=2)
    assert status == 0 and "1 passed" in out
    assert [json.loads(line)["suits"] for line in record.read_text().splitlines()] == [False, True]
    enough = subprocess.run(check, capture_output=True, text=True)
    assert (enough.returncode, enough.stdout) == (0, "2 ranks: 1 of 1 tests\n")

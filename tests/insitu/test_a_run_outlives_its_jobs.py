"""A case that is submitted to a real scheduler goes on in further jobs until it is finished, to the bits of one run.

INSITU_TEST_SCHEDULER=1 runs this; it takes minutes and needs sbatch and qsub of a Slurm with two nodes that takes jobs here,
emulated nodes too (Debian: slurm-wlm, slurm-wlm-torque, as root). ``benchmarks/batch_jobs.py`` is its long version.
"""

import os
import shutil
import subprocess

import pytest
from helpers.queue import await_end, run_uninterrupted, submit, write_case


def reason_to_skip():
    """Return why no jobs are submitted here; nothing where they are."""
    if os.environ.get("INSITU_TEST_SCHEDULER") != "1":
        return "it takes minutes; INSITU_TEST_SCHEDULER=1 runs it where a scheduler takes jobs"
    missing = [name for name in ("insitu", "sbatch", "qsub", "sinfo") if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} not found"
    told = subprocess.run(["sinfo", "--noheader", "--format=%D"], capture_output=True, text=True)
    nodes = sum(map(int, told.stdout.split()))
    return None if nodes >= 2 else f"two nodes are needed, the scheduler has {nodes}"


REASON = reason_to_skip()
pytestmark = [
    pytest.mark.skipif(REASON is not None, reason=REASON or ""),
    pytest.mark.slow,
    pytest.mark.timeout(1800),
]


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return write_case(tmp_path_factory.mktemp("jobs"), points=256, steps=4, until=1.0)


@pytest.fixture(scope="module")
def uninterrupted(case):
    run_uninterrupted(case, case.parent / "uninterrupted")
    return case.parent / "uninterrupted"


@pytest.mark.parametrize("site", ["pbs", "slurm"])
def test_it_finishes_with_the_bits_of_one_run(site, case, uninterrupted):
    run = case.parent / site
    submit(case, run, f"--site={site}", "--time=0:01:00", "--margin=45")
    told = await_end(run, uninterrupted)
    assert told["status"] == "finished", told
    assert told["jobs"] >= 2, told
    assert told["differences"] == 0, told

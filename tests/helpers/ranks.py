"""The suite under mpirun: all ranks run a test of tests/mpi together, any other test is run by one of them.

A test that fails on one rank fails on all, and rank 0 tells it, once. Where the others do not arrive within `PATIENCE` after a
failure, they wait for the rank that failed: all are aborted.
"""

import functools
import itertools
import json
import os
import shutil
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol
from hypothesis import HealthCheck, Phase, settings

LAUNCHED = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK")
LAUNCHERS = ("PMI", "MPI_LOCAL", "OMPI_COMM_WORLD", "OMPI_MCA", "PRTE_", "HYDRA_", "HYDI_")
PATIENCE = 15  # seconds

same_on_all_ranks = settings(
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@functools.cache
def world():
    """Return the launcher's communicator, or None in a process that was started alone.

    The launcher's variables leave the environment, so that subprocesses are on their own.
    """
    if not any(name in os.environ for name in LAUNCHED):
        return None
    from mpi4py import MPI

    for name in [name for name in os.environ if name.startswith(LAUNCHERS)]:
        del os.environ[name]
    return MPI.COMM_WORLD


def be_alone():
    """Let commands that a test runs in this process see one rank."""
    from mpi4py import MPI

    if "insitu.ending" in sys.modules:
        sys.modules["insitu.ending"].world = lambda: MPI.COMM_SELF


def rank_count():
    return 1 if world() is None else world().size


def is_collective(path):
    return Path(path).parent.name == "mpi"


def pytest_addoption(parser):
    parser.addoption("--record-ranks", metavar="FILE", help="append what tests/mpi ran to a file")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    config.addinivalue_line(
        "markers", "ranks(*counts): the numbers of ranks on which a test of tests/mpi makes sense"
    )
    if rank_count() > 1:
        config.pluginmanager.register(Ranks(config, world().Dup()), "ranks of the session")


@pytest.fixture(scope="session")
def shared_folder(request, tmp_path_factory):
    """Return a folder of this session that all its ranks know."""
    ranks = request.config.pluginmanager.get_plugin("ranks of the session")
    return str(tmp_path_factory.mktemp("shared") if ranks is None else ranks.folder / "shared")


def pytest_runtest_setup(item):
    if not is_collective(item.path):
        return
    marker = item.get_closest_marker("ranks")
    suits = marker is None or rank_count() in marker.args
    record = item.config.getoption("--record-ranks")
    if record and (world() is None or world().rank == 0):
        line = {"test": item.nodeid, "ranks": rank_count(), "suits": suits}
        with open(record, "a") as file:
            file.write(json.dumps(line) + "\n")
    if not suits:
        counts = ", ".join(map(str, marker.args))
        pytest.skip(f"asks for {counts} ranks, these are {rank_count()}")


class Ranks:
    """One rank of a session of several."""

    def __init__(self, config, comm):
        self.config, self.comm = config, comm
        self.errors = open(os.dup(2), "w", buffering=1 << 16)  # noqa: SIM115
        self.folder = Path(comm.bcast(tempfile.mkdtemp() if comm.rank == 0 else None))
        config.option.basetemp = self.folder / f"rank-{comm.rank}"
        if comm.rank:
            config.option.xmlpath = None
        else:
            (self.folder / "shared").mkdir(exist_ok=True)
        self.replayed = []

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self, session):
        if self.comm.rank:
            reporter = self.config.pluginmanager.getplugin("terminalreporter")
            reporter._tw._file = open(os.devnull, "w")  # noqa: SIM115

    def pytest_runtestloop(self, session):
        self.require_alike(session)
        if session.testsfailed and not self.config.option.continue_on_collection_errors:
            raise session.Interrupted(f"{session.testsfailed} errors during collection")
        if self.config.option.collectonly:
            return True
        try:
            self.run(session)
        except BaseException:
            self.abort("left the session", traceback.format_exc())
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)
        return True

    def are_together(self, session):
        """Return whether no test of the session is shared out."""
        return all(is_collective(item.path) for item in session.items)

    def run(self, session):
        """Run the collective tests, then share the files of the others out."""
        together = [item for item in session.items if is_collective(item.path)]
        others = [item for item in session.items if not is_collective(item.path)]
        files = [list(group) for _, group in itertools.groupby(others, lambda item: item.path)]
        own = itertools.chain(together, self.claimed(files), [None])
        for item, following in itertools.pairwise(own):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.shouldfail or session.shouldstop:
                break
        self.replay()

    def require_alike(self, session):
        collected = [item.nodeid for item in session.items], session.testsfailed
        if len({json.dumps(other) for other in self.comm.allgather(collected)}) > 1:
            self.abort("the ranks collected different tests")

    def claimed(self, files):
        """Yield the tests of one file after another that no other rank has taken."""
        for number, tests in enumerate(files):
            try:
                (self.folder / f"claim-{number}").touch(exist_ok=False)
            except FileExistsError:
                continue
            be_alone()
            yield from tests

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item, nextitem):
        if not is_collective(item.path):
            return None
        hook = item.ihook
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        for report in self.agreed(item, reports):
            hook.pytest_runtest_logreport(report=report)
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def agreed(self, item, reports):
        """Return the reports of the lowest rank that failed, with what the others say, or this rank's own."""
        failed = any(report.failed for report in reports)
        if not self.all_arrive(PATIENCE if failed else None):
            texts = [report.longreprtext for report in reports if report.failed]
            self.abort(f"{item.nodeid} failed here, the others wait for this rank", *texts)
        everyone = [
            [self.restored(report) for report in other]
            for other in self.comm.allgather([self.stored(report) for report in reports])
        ]
        failing = {
            rank: next(report for report in other if report.failed)
            for rank, other in enumerate(everyone)
            if any(report.failed for report in other)
        }
        if not failing:
            return reports
        first, *rest = failing
        ranks = ", ".join(map(str, failing))
        told = failing[first].longreprtext
        sections = [("ranks", f"failed on {ranks} of {self.comm.size}; told here: {first}")]
        sections += [
            (f"rank {rank}", failing[rank].longreprtext)
            for rank in rest
            if failing[rank].longreprtext != told
        ]
        failing[first].sections[:0] = sections
        return everyone[first]

    def all_arrive(self, patience):
        """Return whether all ranks come here; False where they do not within ``patience`` seconds."""
        deadline = time.monotonic() + (patience or float("inf"))
        request, pause = self.comm.Ibarrier(), 1e-4
        while not request.Test():
            if time.monotonic() > deadline:
                return False
            time.sleep(pause)
            pause = min(2 * pause, 0.02)
        return True

    def pytest_timeout_set_timer(self, item, settings):
        """Time every test from a thread: a signal does not reach Python where a test waits inside MPI."""
        timer = threading.Timer(settings.timeout, self.expire, (item, settings.timeout))
        item.cancel_timeout = timer.cancel
        timer.daemon = True
        timer.start()
        return True

    def expire(self, item, seconds):
        """Say where this rank is, let the others say it too, and end them all; MPI must not be called from this thread."""
        stack = traceback.extract_stack(sys._current_frames()[threading.main_thread().ident])
        names = [frame.name for frame in stack]
        own = (
            stack[names.index("pytest_pyfunc_call") + 1 :]
            if "pytest_pyfunc_call" in names
            else stack
        )
        self.say(f"{item.nodeid} is not done after {seconds:g} s", *traceback.format_list(own))
        time.sleep(1)
        os._exit(1)

    def abort(self, *lines):
        self.say(*lines)
        self.comm.Abort(1)

    def say(self, *lines):
        self.errors.write("\n".join([f"\nrank {self.comm.rank}: {lines[0]}", *lines[1:], ""]))
        self.errors.flush()

    def stored(self, report):
        return self.config.hook.pytest_report_to_serializable(config=self.config, report=report)

    def restored(self, data):
        return self.config.hook.pytest_report_from_serializable(config=self.config, data=data)

    def pytest_runtest_logreport(self, report):
        if self.comm.rank and not is_collective(report.fspath):
            self.replayed.append(self.stored(report))

    def replay(self):
        """Let rank 0 report the tests that the others ran."""
        self.all_arrive(None)
        for reports in (self.comm.gather(self.replayed) or [])[1:]:
            for report in reports:
                self.config.hook.pytest_runtest_logreport(report=self.restored(report))

    def pytest_unconfigure(self):
        """Leave together, and remove what no rank needs any more."""
        if self.all_arrive(PATIENCE) and self.comm.rank == 0:
            shutil.rmtree(self.folder, ignore_errors=True)

"""What tests on several ranks share; they run as ``mpirun -n N python -m pytest tests/mpi``, and alone on one rank."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def comm() -> Iterator[Any]:
    """All ranks; a communicator of its own for each test, so that a stray message harms one test only."""
    MPI = pytest.importorskip("mpi4py.MPI", exc_type=(ImportError, RuntimeError))
    duplicate = MPI.COMM_WORLD.Dup()
    yield duplicate
    duplicate.Free()


@pytest.fixture
def shared_path(comm: Any, tmp_path: Path) -> Path:
    """A folder that all ranks see."""
    return Path(comm.bcast(os.fspath(tmp_path)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let a test that hangs in MPI end, which no signal handler could."""
    for item in items:
        if Path(__file__).parent in item.path.parents and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(120, method="thread"))

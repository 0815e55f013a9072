"""A session in another thread than the one that began MPI is refused where MPI does not allow that."""

import subprocess
import sys

import pytest
from helpers.processes import environment

PROGRAM = """
import sys, threading
import mpi4py
mpi4py.rc.thread_level = sys.argv[1]
from mpi4py import MPI
from insitu.application import embedding

def take():
    try:
        print(embedding._communicator(MPI.COMM_SELF.py2f()).size)
    except embedding.CaseError as error:
        print(error)

take()
thread = threading.Thread(target=take)
thread.start()
thread.join()
"""


def test_by_the_level_that_mpi_has():
    pytest.importorskip("mpi4py.MPI", exc_type=(ImportError, RuntimeError))
    command = [sys.executable, "-c", PROGRAM, "funneled"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    here, elsewhere = done.stdout.splitlines()
    assert here == "1" and "got level 1 of 0 to 3" in elsewhere, done.stderr

"""Whether MPI takes device buffers is the library's own word; a site may say no, but a denied yes is an error."""

import subprocess

import pytest
from helpers.processes import output_of, run_python

ASK = """
import ctypes, sys
from mpi4py import MPI
for path in sys.argv[2:]:
    ctypes.CDLL(path)
if sys.argv[1]:
    MPI.Get_library_version = lambda: sys.argv[1]
from solver import gpu_awareness
print(*gpu_awareness(MPI.COMM_WORLD))
"""


def ask(library="", *paths, forced=None, cray=None):
    variables = {"INSITU_GPU_AWARE_MPI": forced, "MPICH_GPU_SUPPORT_ENABLED": cray}
    return output_of(ASK, library, *paths, **variables).strip()


@pytest.fixture(scope="module")
def aware(tmp_path_factory):
    """Return an MPI library that takes the buffers of AMD's GPUs."""
    folder = tmp_path_factory.mktemp("mpi")
    source, library = folder / "mpi.c", folder / "libmpi_aware.so"
    source.write_text("int MPIX_Query_rocm_support(void) { return 1; }\n")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def test_this_library_says_no_whatever_cray_s_variable_is():
    assert ask() == ask(cray=1) == "False MPIX_Query_cuda_support"


def test_one_yes_of_the_library_is_enough(aware):
    assert ask("", aware) == "True MPIX_Query_rocm_support"


def test_cray_s_library_is_taken_at_its_variable():
    assert ask("CRAY MPICH version 8.1.28", cray=1) == "True MPICH_GPU_SUPPORT_ENABLED=1"
    assert ask("CRAY MPICH version 8.1.28", cray=0) == "False MPICH_GPU_SUPPORT_ENABLED=0"
    assert ask("CRAY MPICH version 8.1.28") == "False MPICH_GPU_SUPPORT_ENABLED"


def test_a_site_may_overrule(aware):
    assert ask(forced=0) == ask("", aware, forced=0) == "False INSITU_GPU_AWARE_MPI=0"
    assert ask("CRAY MPICH version 8.1.28", forced=1) == "True INSITU_GPU_AWARE_MPI=1"


@pytest.mark.parametrize(
    ("forced", "message"),
    [
        (
            "1",
            "=1 needs an MPI that takes device buffers, this one's MPIX_Query_cuda_support says no",
        ),
        ("yes", "must be 0 or 1, got 'yes'; unset it"),
    ],
)
def test_a_wish_that_would_crash_is_an_error(forced, message):
    status, _, err = run_python(ASK, "", INSITU_GPU_AWARE_MPI=forced)
    assert status == 1 and message in err

"""A reduction needs its block of the snapshots, the modes it makes, and memory of the window squared; seen by the system."""

import contextlib
import sys
from pathlib import Path

import pytest
import torch
from helpers.blocks import COUNTS

from insitu.reduction import POD

pytestmark = [
    pytest.mark.ranks(*COUNTS),
    pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's"),
]
TIME, FEATURES, RANK = 64, 1 << 17, 4  # a block of 64 MiB on each rank, modes of 4 MiB
SMALL = 24 << 20  # parts of 2 MiB in a few copies, factors of 32 KiB, buffers of MPI, allocators


def status(name):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if name in line)
    return int(line.split()[1]) * 1024


@contextlib.contextmanager
def bytes_held():
    """Yield a list that gets, at the end, the most memory that the block held beyond what there was."""
    held = []
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    yield held
    held.append(status("VmHWM") - before)


@pytest.fixture
def here(comm):
    generator = torch.Generator().manual_seed(comm.rank)
    block = torch.rand(TIME, FEATURES, generator=generator, dtype=torch.float64)
    block[: TIME // 2] += 3  # so that one mode stands out
    POD(rank=RANK, centred=True).fit(block[:, : FEATURES // 16], comm=comm).transform(
        block[:, : FEATURES // 16]
    )
    return block


@pytest.mark.parametrize("method", ["svd", "snapshots"])
@pytest.mark.parametrize("centred", [False, True])
def test_fit_and_transform(comm, here, method, centred):
    pod = POD(rank=RANK, method=method, centred=centred)
    own = (RANK + 1) * FEATURES * 8  # modes and mean
    with bytes_held() as held:
        pod.fit(here, comm=comm)
        coefficients = pod.transform(here)
        pod.field_error(coefficients, here)
    assert held[0] < own + SMALL < here.nbytes / 2


def test_a_copy_of_the_block_would_be_seen(here):
    with bytes_held() as held:
        here.clone()
    assert held[0] > here.nbytes * 0.9

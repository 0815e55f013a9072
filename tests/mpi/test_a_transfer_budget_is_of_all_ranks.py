"""The bytes of all ranks count against the budget, and all of them raise where it is exceeded."""

import numpy as np
import pytest

from insitu.audit import TransferBudgetError, Transfers
from insitu.timing import Ledger, of_all_ranks
from solver import Device


def move(comm, budget):
    """Move 80 bytes on the last rank only."""
    device = Device.open("Serial")
    ledger, memory = Ledger(device, budget, comm), device.allocate((10,))
    with ledger.stage("time loop") as loop:
        loop.steps = 4
        if comm.rank == comm.size - 1:
            memory.copy_from(np.zeros(10))
    return of_all_ranks(ledger.as_list(), comm)


def test_every_rank_raises(comm):
    with pytest.raises(TransferBudgetError, match="may move 76 bytes .* it moved 80"):
        move(comm, Transfers(per_step=19))


def test_the_report_adds_up_the_ranks(comm):
    (loop,) = move(comm, Transfers(per_step=20))
    assert (loop["through_host"], loop["steps"]) == (80, 4)
    assert [(line["bytes"], line["count"]) for line in loop["transfers"]] == [(80, 1)]

"""What is taken over, and the state that comes of it, do not depend on the number of ranks."""

import numpy as np
import pytest
from helpers.propagators import POINTS, propagator, start
from helpers.sharing import put_together

from insitu.takeover import Control, Takeover

pytestmark = pytest.mark.ranks(1, 2)


def run(surrogate, **shared):
    simulation = start(**shared)
    takeover = Takeover(simulation, surrogate, Control(1e-2))
    takeover.advance(until=0.3)
    return simulation, takeover.decisions


@pytest.mark.parametrize("factor", [1.0, 1.003])
def test_decisions_and_state(comm, factor):
    surrogate = propagator(factor, reach=15)
    alone, log = run(surrogate)
    together, shared_log = run(surrogate, comm=comm)
    assert [(entry.kind, entry.step) for entry in shared_log.entries] == [
        (entry.kind, entry.step) for entry in log.entries
    ]
    assert log.count("accepted") > 3
    found = put_together(comm, together, (1, POINTS))
    assert np.abs(found - alone.u.to_host()).max() < 1e-12

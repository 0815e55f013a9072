"""Fields over time go from the GPU to the file through pinned memory, are counted, and are the states."""

import numpy as np
import pytest

from insitu.bridge import on_stream
from insitu.config import Sampling, Time
from insitu.fields import FieldFile, Fields
from insitu.fields.writer import FieldWriter
from insitu.sampler import Sampler
from insitu.schedule import schedule_of
from insitu.timing import Ledger
from solver import Burgers, Grid, Simulation

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("kind", ["vtkhdf", "zarr"])
def test_the_file_holds_the_states_and_the_ledger_their_bytes(kind, gpu_device, tmp_path):
    pytest.importorskip({"vtkhdf": "h5py", "zarr": "zarr"}[kind])
    grid = Grid((96, 64), ((0.0, 1.0),) * 2)
    simulation = Simulation(gpu_device, grid, Burgers(0.1), "sin", dt=1e-4)
    times = Time(steps=40)
    schedule = schedule_of(simulation, times, Sampling(every=4))
    sampler = Sampler(gpu_device, simulation.u.interior.size, 10, 4)
    first = simulation.u.to_host()
    ledger = Ledger(gpu_device)
    with on_stream(gpu_device), ledger.stage("time loop") as stage:
        writer = FieldWriter(FieldFile(kind), simulation, sampler, schedule, times, tmp_path)
        for _ in writer.beside(sampler.follow(simulation, steps=40, most=8)):
            pass
        writer.finish(simulation.step)
    states = [first, *sampler.snapshots.cpu().numpy().reshape(10, *first.shape)]
    with Fields(tmp_path / f"fields.{kind}") as fields:
        assert len(fields) == 11
        for n, state in enumerate(states):
            for component, name in enumerate("uv"):
                np.testing.assert_array_equal(fields.state(name, n), state[component])
    assert stage.device_to_host >= 11 * first.nbytes
    assert stage.through_host == 11 * first.nbytes

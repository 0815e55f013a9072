"""Interleaved online training sees the same pairs in the same order on any number of ranks, and learns the same from them."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import insitu
import solver
from insitu.online import Members, Online, TimeBlocks
from insitu.online.run import OnlineRun
from insitu.training import seeded

pytestmark = pytest.mark.ranks(2, 3, 4)
CPU = torch.device("cpu")


class Step(nn.Module):
    def __init__(self, components):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(components + 1, 6, 3, padding=1, padding_mode="circular"),
            nn.Tanh(),
            nn.Conv2d(6, components, 3, padding=1, padding_mode="circular"),
        )
        self.register_buffer("scale", torch.ones(components))

    def forward(self, states, parameters):
        constant = parameters.reshape(len(states), 1, 1, 1).expand(-1, 1, *states.shape[2:])
        change = self.layers(torch.cat([states, constant], dim=1))
        return states + self.scale[:, None, None] * change


class Refusing(Step):
    """Out of memory for any pair on rank 0 only, until batches are halved."""

    def __init__(self, components, most):
        super().__init__(components)
        self.most = most

    def forward(self, states, parameters):
        if len(states) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(states, parameters)


def whirl(x, y):
    return np.stack([np.sin(x) * np.cos(y), -np.cos(x) * np.sin(y)])


def trained(comm, nu, model, **changes):
    """Run 2-D Burgers with interleaved training; return the run."""
    device = solver.Device.open("Serial", comm)
    grid = solver.Grid(points=(12, 10), extent=((0.0, 2 * math.pi),) * 2)
    simulation = solver.Simulation(device, grid, solver.Burgers(nu=nu), whirl, comm=comm)
    sampler = insitu.Sampler(device, simulation.u.interior.size, 40, 1)
    values = {"batch_size": 8, "capacity": 12, "warm_up": 6, "validate_every": 6}
    values |= {"parameters": ["nu"], "validation": TimeBlocks(0.3, 4)}
    run = OnlineRun(Online(model=model, **(values | changes)), simulation, sampler)
    for _ in run.beside(sampler.follow(simulation, steps=26, most=run.steps_at_once)):
        pass
    return run


def network(make=Step, *arguments):
    with seeded(0, CPU):
        return make(2, *arguments)


def weights(run):
    return torch.cat([weight.detach().flatten() for weight in run.trainer.module.parameters()])


CASES = {
    "one solution, its grid cut": (0.1, {}),
    "an ensemble, ring": ([0.05, 0.1, 0.2], {"policy": "ring"}),
    "members held out": ([0.05, 0.1, 0.2, 0.4, 0.8], {"validation": Members(0.4)}),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_what_one_rank_learns(comm, case):
    nu, changes = CASES[case]
    expected = trained(None, nu, network(), **changes)
    found = trained(comm, nu, network(), **changes)
    assert torch.allclose(weights(found), weights(expected), rtol=1e-9, atol=1e-12)
    assert found.trainer.record.loss == pytest.approx(expected.trainer.record.loss, rel=1e-9)
    assert np.allclose(
        found.trainer.record.validation, expected.trainer.record.validation, rtol=1e-9
    )
    assert torch.equal(found.trainer.training.origins(), expected.trainer.training.origins())
    assert found.trainer.record.loss[-1] < found.trainer.record.loss[0]
    bits = comm.allgather(weights(found).numpy().tobytes())
    assert len(set(bits)) == 1, "replicas drift apart"
    own, whole = found.trainer.training.nbytes, expected.trainer.training.nbytes
    assert own <= whole * -(-12 // comm.size) / 12 * (1 + 1e-9), "more than its part of the buffer"


def test_one_rank_out_of_memory_makes_all_halve_the_batch(comm):
    first = network(Refusing, 1 if comm.rank == 0 else 100)
    run = trained(comm, 0.1, first)
    expected = trained(None, 0.1, network())
    limits = comm.allgather((run.trainer.descent.most, run.trainer.record.backoffs))
    assert len(set(limits)) == 1
    assert limits[0][0] < 8 and limits[0][1] > 0
    assert torch.allclose(weights(run), weights(expected), rtol=1e-9, atol=1e-12)


def test_overlapping_is_refused_on_several_ranks(comm):
    with pytest.raises(insitu.CaseError, match="online.mode overlapped trains on one rank"):
        trained(comm, 0.1, network(), mode="overlapped")

"""A network that sees fields, trained on snapshots shared out among ranks, learns what one rank would with all of them."""

import math

import numpy as np
import pytest
import torch
import torch.distributed as dist
from helpers.blocks import are_alike, block
from torch import nn

import solver
from insitu import as_torch
from insitu.collectives import total
from insitu.parallel import process_group
from insitu.training import Training, TrainingError, seeded, train

pytestmark = pytest.mark.ranks(1, 2, 3, 4)
CPU = torch.device("cpu")
POINTS = 24


class Step(nn.Module):
    """u(t + dt) from u(t): two periodic convolutions and what was there before."""

    def __init__(self):
        super().__init__()
        self.wide = nn.Conv1d(1, 6, 5, padding=2, padding_mode="circular")
        self.narrow = nn.Conv1d(6, 1, 3, padding=1, padding_mode="circular")

    def forward(self, u):
        return u + self.narrow(torch.tanh(self.wide(u)))


def network(dtype=torch.float64, seed=0):
    with seeded(seed, CPU):
        return Step().to(dtype)


@pytest.fixture(scope="module")
def pairs():
    """Snapshots of an ensemble of Burgers' equation and those that follow, member by member."""
    device = solver.Device.open("Serial")
    grid = solver.Grid(points=(POINTS,), extent=((0.0, 2 * math.pi),))
    equation = solver.Burgers(nu=[0.02, 0.05, 0.1], scheme="central")
    simulation = solver.Simulation(device, grid, equation, initial=np.sin, dt=0.02)
    fields = []
    for _ in range(15):
        simulation.advance(steps=5)
        fields.append(as_torch(simulation.u).clone())
    series = torch.stack(fields, dim=1)  # (members, times, components, points)
    return series[:, :-1].flatten(0, 1), series[:, 1:].flatten(0, 1)


SETTINGS = {
    "uneven batches": Training(epochs=12, batch_size=5, learning_rate=5e-3),
    "no validation": Training(epochs=12, batch_size=8, learning_rate=5e-3, validation=0.0),
    "one pair a batch": Training(epochs=4, batch_size=1, learning_rate=1e-3),
    "momentum": Training(epochs=12, batch_size=7, learning_rate=1e-2, optimizer="torch.optim.SGD"),
    "early stop": Training(epochs=60, batch_size=6, learning_rate=5e-2, patience=3),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_loss_curves_agree_to_1e_6(comm, pairs, name):
    here = block(comm, len(pairs[0]))
    module, alone = network(), network()
    record = train(module, pairs[0][here], pairs[1][here], SETTINGS[name], comm=comm)
    expected = train(alone, *pairs, SETTINGS[name])
    assert record.loss == pytest.approx(expected.loss, rel=1e-6, abs=0)
    assert record.validation_loss == pytest.approx(expected.validation_loss, rel=1e-6, abs=0)
    assert record.best_epoch == expected.best_epoch
    assert record.stopped_early == expected.stopped_early == (name == "early stop")
    assert record.loss[-1] < record.loss[0]
    torch.testing.assert_close(module(pairs[0]), alone(pairs[0]), rtol=0, atol=1e-6)
    assert are_alike(comm, *module.state_dict().values())
    assert len(set(comm.allgather(repr(record.loss)))) == 1
    assert not module.training


def test_single_precision_agrees_to_1e_6(comm, pairs):
    inputs, targets = (tensor.float() for tensor in pairs)
    here = block(comm, len(inputs))
    settings = Training(epochs=5, batch_size=6)
    module = network(torch.float32)
    record = train(module, inputs[here], targets[here], settings, comm=comm)
    expected = train(network(torch.float32), inputs, targets, settings)
    assert record.loss == pytest.approx(expected.loss, rel=1e-5, abs=1e-6)


def test_all_ranks_begin_with_the_weights_of_rank_0(comm, pairs):
    here = block(comm, len(pairs[0]))
    settings = Training(epochs=2, batch_size=6)
    record = train(network(seed=comm.rank), pairs[0][here], pairs[1][here], settings, comm=comm)
    expected = train(network(seed=0), *pairs, settings)
    assert record.loss == pytest.approx(expected.loss, rel=1e-6, abs=0)


def test_the_seed_decides_the_order_of_the_batches(comm, pairs):
    here = block(comm, len(pairs[0]))
    losses = [
        train(
            network(),
            pairs[0][here],
            pairs[1][here],
            Training(epochs=2, batch_size=6, seed=seed),
            comm=comm,
        ).loss
        for seed in (0, 0, 1)
    ]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.ranks(2, 3, 4)
def test_gradients_are_sums_over_samples_not_means_over_ranks(comm, pairs):
    """What plain data-parallel averaging of unequal shares would give is something else."""
    here = block(comm, len(pairs[0]))
    module = network()
    loss = nn.functional.mse_loss(module(pairs[0][here]), pairs[1][here])
    averaged = total(comm, torch.autograd.grad(loss, module.wide.weight)[0]) / comm.size
    loss = nn.functional.mse_loss(module(pairs[0]), pairs[1])
    (gradient,) = torch.autograd.grad(loss, module.wide.weight)
    assert (averaged - gradient).abs().max() > 1e-6 * gradient.abs().max()


def test_no_process_group_is_left_open(comm, pairs):
    here = block(comm, len(pairs[0]))
    settings = Training(epochs=1)
    assert not dist.is_initialized()
    train(network(), pairs[0][here], pairs[1][here], settings, comm=comm)
    assert not dist.is_initialized()


@pytest.mark.ranks(2, 3, 4)
def test_an_open_process_group_is_used_and_kept(comm, pairs):
    here = block(comm, len(pairs[0]))
    with process_group(comm, CPU):
        assert (dist.get_rank(), dist.get_world_size()) == (comm.rank, comm.size)
        group = dist.group.WORLD
        for _ in range(2):
            train(network(), pairs[0][here], pairs[1][here], Training(epochs=1), comm=comm)
            assert dist.group.WORLD is group
    assert not dist.is_initialized()


@pytest.mark.ranks(2, 3, 4)
def test_errors_are_raised_by_all_and_leave_no_process_group(comm, pairs):
    inputs, targets = (tensor[block(comm, len(tensor))].clone() for tensor in pairs)
    settings = Training(epochs=3)

    def fit(module=None, inputs=inputs, targets=targets, settings=settings):
        train(module or network(), inputs, targets, settings, comm=comm)

    is_last = comm.rank == comm.size - 1
    with pytest.raises(ValueError, match="expected finite coefficients, got .* NaN"):
        fit(inputs=inputs * math.nan if is_last else inputs)
    with pytest.raises(ValueError, match="expected samples on every rank, got .*0"):
        fit(inputs=inputs[:0] if is_last else inputs, targets=targets[:0] if is_last else targets)
    with pytest.raises(ValueError, match="treats samples apart .* got BatchNorm1d as '1'"):
        fit(nn.Sequential(nn.Conv1d(1, 1, 1), nn.BatchNorm1d(1)).double())
    with pytest.raises(TrainingError, match="expected a finite loss"):
        fit(inputs=inputs + 1e200, settings=Training(epochs=3, optimizer="torch.optim.SGD"))
    assert not dist.is_initialized()

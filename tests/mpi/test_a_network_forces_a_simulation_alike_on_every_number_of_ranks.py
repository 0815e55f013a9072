"""A network that forces a simulation gives the same fields on every number of ranks."""

import numpy as np
import pytest
import torch
from helpers.networks import frozen, layer
from torch import nn

from insitu import as_torch
from insitu.locality import FieldModel
from solver import Burgers, Device, Dirichlet, Grid, Periodic, Simulation

pytestmark = pytest.mark.ranks(1, 2, 3, 4)

POINTS = (41, 34)
EXTENT = ((0.0, 1.0), (0.0, 0.8))
SIDES = {
    "circular": ((Periodic(), Periodic()),) * 2,
    "replicate": ((Dirichlet(0.2), Dirichlet(-0.1)), (Dirichlet(0.0), Dirichlet(0.1))),
}
HOST_MODES = ("Serial", "OpenMP")
STEPS, EVERY = 60, 5


def closure(padding, strength=1.0):
    network = frozen(
        nn.Sequential(
            layer(2, 2, 6, 5, 1, padding),
            nn.Tanh(),
            layer(2, 6, 6, 3, 2, padding),
            nn.Tanh(),
            layer(2, 6, 2, 3, 1, padding),
        )
    )
    network[-1].weight *= strength
    return network


def start(device, padding, members=None, **shared):
    initial = 0.3 * np.random.default_rng(5).standard_normal((2, *POINTS))
    if members:
        initial = np.linspace(0.5, 1.5, members)[:, None, None, None] * initial
    grid = Grid(POINTS, EXTENT, SIDES[padding])
    equation = Burgers(0.01, "central", forcing=np.zeros((2, *POINTS)))
    return Simulation(device, grid, equation, initial, dt=2e-3, members=members, **shared)


def forced(simulation, network, staged=None):
    model = FieldModel(network, simulation.device, simulation.grid, staged)
    forcing = as_torch(simulation.fields["forcing"])
    for _ in range(STEPS // EVERY):
        model(as_torch(simulation.u), into=forcing)
        simulation.advance(steps=EVERY)
    return simulation.u.to_host()


@pytest.fixture(params=list(zip(SIDES, HOST_MODES, strict=True)), ids="-".join)
def setting(request):
    """Sides with the padding that suits them, each in one mode."""
    padding, mode = request.param
    return Device.open(mode), padding


@pytest.mark.parametrize("staged", [False, True, None])
def test_the_fields_are_those_of_one_rank(comm, setting, staged):
    device, padding = setting
    network = closure(padding)
    alone = forced(start(device, padding), network)
    together = start(device, padding, comm=comm)
    fields = forced(together, network, staged)
    assert np.abs(fields - together.grid.part(alone)).max() < 1e-12 * np.abs(alone).max()


def test_members_are_a_batch(comm, setting):
    device, padding = setting
    network = closure(padding)
    alone = forced(start(device, padding, 2), network)
    together = start(device, padding, 2, comm=comm, ranks=(comm.size, 1))
    fields = forced(together, network)
    assert np.abs(fields - together.grid.part(alone)).max() < 1e-12 * np.abs(alone).max()


def test_the_network_is_felt(comm, setting):
    device, padding = setting
    unforced = start(device, padding, comm=comm)
    unforced.advance(steps=STEPS)
    plain, stronger = (
        forced(start(device, padding, comm=comm), closure(padding, strength))
        for strength in (1.0, 1.001)
    )
    assert np.abs(plain - unforced.u.to_host()).max() > 1e-2
    assert 1e-8 < np.abs(stronger - plain).max() < 1e-2


def test_the_result_is_written_in_place_without_a_copy_of_the_field(comm, setting):
    device, padding = setting
    simulation = start(device, padding, comm=comm)
    model = FieldModel(closure(padding), device, simulation.grid)
    forcing = as_torch(simulation.fields["forcing"])
    assert model(as_torch(simulation.u), into=forcing) is forcing and forcing.abs().max() > 0
    before, expected = device.transfers, forcing.clone()
    forcing.zero_()
    model(as_torch(simulation.u), into=forcing)
    assert torch.equal(forcing, expected)
    assert device.transfers == before

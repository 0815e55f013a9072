"""Surrogates step, train and report on the GPU as they do on the host, without a copy between."""

import pytest
import torch

from insitu import FieldModel, as_torch
from insitu.surrogates import FNO, ResidualCNN, Surrogate, Trajectories, fit
from insitu.training import Training, seeded
from solver import Burgers, Grid, Simulation

pytestmark = pytest.mark.gpu

CORES = {
    "cnn": lambda axes: ResidualCNN(axes, 2, 1, True, 6, 3, (1, 2)),
    "fno": lambda axes: FNO(axes, 2, 1, True, 3, 6, 2),
}
ROUND_OFF = {torch.float32: 1e-4, torch.float64: 1e-11}


def runs(axes, dtype):
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(6, 1, 1, *(12,) * axes, dtype=dtype, generator=generator)
    rates = torch.rand(6, 1, dtype=dtype, generator=generator)
    times = torch.arange(5, dtype=dtype).reshape(1, 5, *(1,) * (axes + 1))
    return Trajectories(start * torch.exp(-rates.reshape(6, *(1,) * (axes + 2)) * times), rates)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_training_and_rollout_are_those_of_the_host(core, axes, dtype):
    given, found = runs(axes, dtype), []
    settings = Training(epochs=3, batch_size=8, validation=0.2)
    for device in ("cpu", "cuda"):
        with seeded(0, torch.device("cpu")):
            model = Surrogate(CORES[core](axes).to(dtype), 1, 1)
        here = Trajectories(given.states.to(device), given.parameters.to(device))
        record = fit(model, here, settings, steps=2)
        with torch.no_grad():
            rollout = model.rollout(here.states[:, 0], 4, here.parameters)
        assert rollout.device.type == device and model.mean.device.type == device
        found.append((rollout.cpu(), record.loss))
    torch.testing.assert_close(found[1][0], found[0][0], rtol=0, atol=ROUND_OFF[dtype])
    assert found[1][1] == pytest.approx(found[0][1], rel=ROUND_OFF[dtype])


def test_a_field_model_steps_the_solvers_state_in_place(gpu_device):
    grid = Grid(points=(64,), extent=((0.0, 6.283185307179586),))
    simulation = Simulation(gpu_device, grid, Burgers(nu=0.05))
    u = as_torch(simulation.u)
    surrogate = Surrogate(ResidualCNN(1, 1, 1, True, 4, 3, (1,)), 1).to(u.device)
    before, pointer = u.clone(), u.data_ptr()
    with torch.no_grad():
        surrogate.core[-1][-1].bias.fill_(0.5)
    FieldModel(surrogate, gpu_device, simulation.grid)(u, into=u)
    assert torch.equal(u, before + 0.5) and as_torch(simulation.u).data_ptr() == pointer

"""Tensors on GPUs give what tensors on the host give, through the host where MPI does not take them, and that is counted."""

import pytest
import torch
from helpers.blocks import are_alike, block, orthonormal
from torch import nn

from insitu.collectives import total, transfers
from insitu.reduction import POD
from insitu.training import Training, seeded, train
from solver.mpi import gpu_aware

pytestmark = [pytest.mark.gpu, pytest.mark.ranks(1, 2, 4)]
CPU = torch.device("cpu")


@pytest.fixture
def gpu(comm):
    return torch.device("cuda", comm.rank % torch.cuda.device_count())


def test_a_total_is_counted_where_it_is_staged(comm, gpu):
    before = transfers()
    values = torch.arange(4, dtype=torch.float64, device=gpu) + comm.rank
    summed = total(comm, values)
    assert summed.device == gpu
    assert torch.equal(summed.cpu(), total(comm, values.cpu()))
    staged = 0 if comm.size == 1 or gpu_aware(comm) else values.nbytes
    moved = {direction: count - before[direction] for direction, count in transfers().items()}
    assert moved == {"device_to_host": staged, "host_to_device": staged}


@pytest.mark.parametrize("method", ["svd", "snapshots"])
def test_a_basis_is_that_of_the_host(comm, gpu, method):
    sigma = 0.5 ** torch.arange(8, dtype=torch.float64)
    here = ((orthonormal(8, 20, 1).T * sigma) @ orthonormal(8, 120, 2))[:, block(comm, 120)]
    pod = POD(rank=4, method=method, centred=True).fit(here.to(gpu), comm=comm)
    host = POD(rank=4, method=method, centred=True).fit(here, comm=comm)
    torch.testing.assert_close(pod.singular_values_.cpu(), host.singular_values_, rtol=1e-9, atol=0)
    torch.testing.assert_close(pod.modes_.cpu(), host.modes_, rtol=0, atol=1e-9)
    coefficients = pod.transform(here.to(gpu))
    assert coefficients.device == gpu
    assert are_alike(comm, coefficients, pod.singular_values_)


def test_training_is_that_of_the_host(comm, gpu):
    def network():
        with seeded(0, CPU):
            return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 3)).double()

    inputs = torch.linspace(-1, 1, 60, dtype=torch.float64).reshape(20, 3)
    mine, settings = inputs[block(comm, 20)], Training(epochs=5, batch_size=6)
    on_gpu = train(network().to(gpu), mine.to(gpu), mine.square().to(gpu), settings, comm=comm)
    on_host = train(network(), inputs, inputs.square(), settings)
    assert on_gpu.loss == pytest.approx(on_host.loss, rel=1e-6)

"""A local surrogate steps blocks as it steps the whole grid; trained on members that ranks share it is the same on all."""

import pytest
import torch
from helpers.blocks import are_alike, block
from helpers.networks import block_of, difference, frozen, part

from insitu.ensembles import require_whole_members
from insitu.locality import FieldModel
from insitu.surrogates import (
    FNO,
    ResidualCNN,
    Surrogate,
    Surrogates,
    Trajectories,
    evaluate_surrogates,
    fit,
)
from insitu.training import Training, seeded
from solver import AdvectionDiffusion, Device, Grid, Simulation

pytestmark = pytest.mark.ranks(1, 2, 3, 4)
ROUND_OFF = {torch.float32: 5e-6, torch.float64: 1e-12}


def field(points, channels, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, channels, *points, dtype=dtype, generator=generator)


@pytest.mark.parametrize("staged", [False, True, None])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("points", "wraps"), [((61,), (True,)), ((23, 18), (True, False)), ((11, 9, 10), (False,) * 3)]
)
def test_a_step_of_a_block_is_that_of_the_grid(comm, points, wraps, dtype, staged):
    axes, kernel = len(points), 5 if len(points) == 1 else 3
    core = frozen(ResidualCNN(axes, 2, 2, wraps, 4, kernel, (1, 2)), dtype)
    surrogate, whole = Surrogate(core, 2), field(points, 2, dtype)
    surrogate.fit_statistics(whole, whole + 0.1 * whole.flip(0))
    grid = block_of(comm, points, wraps)
    assert difference(surrogate, Device.open("Serial"), grid, whole, staged) < ROUND_OFF[dtype]


def test_statistics_of_blocks_are_those_of_the_grid(comm):
    grid, whole = block_of(comm, (23, 18)), field((23, 18), 2)
    expected, found = (
        Surrogate(ResidualCNN(2, 2, 2, True, 2, 3, ()).double(), 2) for _ in range(2)
    )
    expected.fit_statistics(whole, whole * 1.5)
    found.fit_statistics(part(grid, whole), part(grid, whole * 1.5), comm=comm)
    for name, values in expected.named_buffers():
        torch.testing.assert_close(dict(found.named_buffers())[name], values, rtol=1e-13, atol=0)
    assert are_alike(comm, *found.buffers())


@pytest.mark.ranks(2, 3, 4)
def test_a_global_core_is_refused_on_blocks(comm):
    surrogate = Surrogate(FNO(1, 1, 1, True, 3, 4), 1)
    with pytest.raises(ValueError, match="Surrogate sees as far as its part: FNO states that it"):
        FieldModel(surrogate, Device.open("Serial"), block_of(comm, (24,)))


def decays():
    """Nine members that decay at the rates given as their parameter."""
    generator = torch.Generator().manual_seed(2)
    start = torch.randn(9, 1, 1, 16, dtype=torch.float64, generator=generator)
    rates = torch.rand(9, 1, dtype=torch.float64, generator=generator)
    times = torch.arange(5)[:, None, None]
    return Trajectories(start * torch.exp(-rates[..., None, None] * times), rates)


def test_training_on_shared_members_is_that_of_one_rank(comm):
    runs = decays()
    settings = Training(epochs=6, batch_size=7, learning_rate=3e-3, validation=0.3)
    alone, shared = [], []
    for found, here, ranks in ((alone, slice(None), None), (shared, block(comm, 9), comm)):
        with seeded(0, torch.device("cpu")):
            model = Surrogate(ResidualCNN(1, 2, 1, True, 4, 3, (1,)).double(), 1, parameters=1)
        found += [fit(model, runs.of(here), settings, 2, comm=ranks), model]
    assert shared[0].validation_loss == pytest.approx(alone[0].validation_loss, rel=1e-6, abs=0)
    assert alone[0].loss[-1] < 0.9 * alone[0].loss[0]
    with torch.no_grad():
        found, expected = (
            model.rollout(runs.states[:, 0], 3, runs.parameters) for model in (shared[1], alone[1])
        )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert are_alike(comm, *shared[1].state_dict().values())


def test_what_is_reported_of_a_run_is_that_of_one_rank(comm):
    runs, found = decays(), []
    settings = Surrogates(
        [lambda *sizes: ResidualCNN(*sizes, 4, 3, (1,))], training=Training(epochs=3, batch_size=7)
    )
    for here, ranks in ((runs, None), (runs.of(block(comm, 9)), comm)):
        result = evaluate_surrogates(settings, here, 4, (True,), 0.5, comm=ranks)["ResidualCNN"]
        found.append([result.field_error, result.unseen_error, result.unseen_persistence_error])
    assert found[1] == pytest.approx(found[0], rel=1e-6)
    assert len(set(comm.allgather(repr(found[1])))) == 1


@pytest.mark.ranks(2, 3, 4)
def test_a_run_whose_ranks_share_the_grid_is_refused(comm):
    device, equation = Device.open("Serial"), AdvectionDiffusion(0.01, (1.0,))
    grid = Grid((24,), ((0.0, 1.0),))
    ensemble = Simulation(device, grid, equation, members=comm.size, comm=comm)
    require_whole_members(ensemble)
    with pytest.raises(
        ValueError, match="whole members on each rank, got blocks of .* of \\[24\\]"
    ):
        require_whole_members(Simulation(device, grid, equation, comm=comm))

"""What only a GPU can show of training beside a solver: its own stream, samples ordered by events, memory that really ends."""

import numpy as np
import pytest
import torch
from torch import nn

from insitu import Sampler, as_torch, on_stream
from insitu.online import Online, OnlineTrainer, TimeBlocks
from insitu.online.memory import cap_memory
from insitu.online.run import OnlineRun
from insitu.online.staging import Staging
from insitu.training import seeded
from solver import Burgers, Device, Grid, Simulation

pytestmark = pytest.mark.gpu

GRID = Grid(points=(4096,), extent=((0.0, 2 * np.pi),))
CUDA = torch.device("cuda")
SLOW = 200_000_000  # clock cycles, about a tenth of a second


def settings(**changes):
    with seeded(0, CUDA):
        model = nn.Sequential(
            nn.Conv1d(1, 32, 5, padding=2), nn.GELU(), nn.Conv1d(32, 1, 5, padding=2)
        )
    values = {"batch_size": 8, "capacity": 32, "warm_up": 8, "validation": TimeBlocks(0.0)}
    return Online(model=model, **(values | changes))


def trained(device: Device, online, steps=2000):
    """Run Burgers with training, or without; return its state and the run."""
    simulation = Simulation(device, GRID, Burgers(nu=0.01), np.sin)
    sampler = Sampler(device, simulation.u.interior.size, 64, 5)
    run = OnlineRun(online, simulation, sampler) if online else None
    with on_stream(device):
        moments = sampler.follow(simulation, steps=steps, most=run.steps_at_once if run else None)
        for _ in run.beside(moments) if run else moments:
            pass
    return simulation.u.to_host(), run


@pytest.mark.parametrize("mode", ["interleaved", "overlapped"])
def test_the_solution_has_the_bits_of_a_run_without_training(gpu_device, mode):
    alone, _ = trained(gpu_device, None)
    beside, run = trained(gpu_device, settings(mode=mode, budget=10.0))
    assert np.array_equal(alone, beside)
    assert run.trainer.record.samples + run.dropped == 400
    assert run.trainer.record.steps > 0


def test_pairs_are_what_the_solver_wrote(gpu_device):
    _, run = trained(gpu_device, settings(mode="overlapped", policy="ring"))
    held, snapshots = run.trainer.training, run.sampler.snapshots
    pairs = held.gather(torch.arange(held.pairs))
    oldest = 400 - len(snapshots)
    for (first, last, _), inputs, targets in zip(
        held.origins().tolist(), pairs.inputs, pairs.targets, strict=True
    ):
        if first >= oldest:
            assert torch.equal(inputs.flatten(), snapshots[first - oldest])
            assert torch.equal(targets.flatten(), snapshots[last - oldest])


def test_the_trainer_waits_for_a_slow_copy_by_an_event():
    solver, trainer = torch.cuda.Stream(priority=-1), torch.cuda.Stream(priority=0)
    staging = Staging(torch.zeros(1, 1, 1000, device="cuda"), slots=1)
    source = torch.zeros(1, 1, 1000, device="cuda")
    torch.cuda.synchronize()
    with torch.cuda.stream(solver):
        torch.cuda._sleep(SLOW)
        source.fill_(7.0)
        assert staging.put(0, source)
    with torch.cuda.stream(trainer):
        staged = staging.get()
        seen = staged.states.clone()
        torch.cuda._sleep(SLOW)
        staging.give_back(staged)
    with torch.cuda.stream(solver):
        assert not staging.put(1, source), "its reader has not passed yet"
    torch.cuda.synchronize()
    assert staging.put(2, source)
    assert (seen == 7.0).all()


def test_interleaved_training_is_reproducible(gpu_device):
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        runs = [trained(gpu_device, settings(steps=2), 500)[1] for _ in range(3)]
    finally:
        torch.use_deterministic_algorithms(False)
    assert runs[0].trainer.record.loss == runs[1].trainer.record.loss == runs[2].trainer.record.loss


def test_a_batch_twice_too_large_for_the_cap_is_halved_and_the_run_finishes():
    """What a step of 64 pairs takes at its peak is measured; then little more than half of it is allowed."""
    x = torch.linspace(0, 6.28, 65_536, device="cuda")

    def trainer_of():
        trainer = OnlineTrainer(settings(batch_size=64, capacity=80), CUDA, torch.float32)
        for sample in range(70):
            trainer.offer(sample, torch.sin(x - 0.1 * sample)[None, None])
        return trainer

    torch.cuda.reset_peak_memory_stats()
    free = trainer_of()
    held = torch.cuda.memory_allocated()
    free.step()
    step = torch.cuda.max_memory_allocated() - held
    del free
    torch.cuda.empty_cache()
    short = trainer_of()
    available = torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved()
    cap = cap_memory(CUDA, (torch.cuda.memory_reserved() + 0.6 * step) / available)
    try:
        losses = [short.step() for _ in range(3)]
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert cap and all(loss is not None for loss in losses)
    assert short.descent.most == 32 and short.record.backoffs == 1


def test_a_view_of_the_field_is_on_the_stream_of_high_priority(gpu_device):
    """Inside the overlapped loop the solver's stream is another than outside, and torch's current one is the same."""
    before, inside = gpu_device.stream.handle, []
    simulation = Simulation(gpu_device, GRID, Burgers(nu=0.01), np.sin)
    sampler = Sampler(gpu_device, simulation.u.interior.size, 64, 5)
    run = OnlineRun(settings(mode="overlapped"), simulation, sampler)
    for _ in run.beside(sampler.follow(simulation, steps=50, most=run.steps_at_once)):
        inside.append((gpu_device.stream.handle, torch.cuda.current_stream().cuda_stream))
        as_torch(simulation.u)
    assert gpu_device.stream.handle == before
    assert all(solver == current != before for solver, current in inside)

"""A trainer in another thread gets whole samples, changes no bit of the solution, and its failures end where they should."""

import math
import threading
import time

import pytest
import torch
from torch import nn

import insitu
import solver
from insitu.online import Online, OnlineTrainer, TimeBlocks
from insitu.online.overlap import Overlap
from insitu.online.run import OnlineRun
from insitu.online.staging import Staging
from insitu.training import seeded

CPU = torch.device("cpu")


class Step(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(1, 8, 5, padding=2, padding_mode="circular"),
            nn.GELU(),
            nn.Conv1d(8, 1, 5, padding=2, padding_mode="circular"),
        )

    def forward(self, states):
        return states + self.layers(states)


def online(model=None, **changes):
    with seeded(0, CPU):
        model = model or Step()
    values = {"mode": "overlapped", "batch_size": 4, "capacity": 16, "warm_up": 4, "budget": 50.0}
    return Online(model=model, validation=TimeBlocks(0.0), **(values | changes))


def coupled(settings, every=2):
    device = solver.Device.open("Serial")
    grid = solver.Grid(points=(64,), extent=((0.0, 2 * math.pi),))
    simulation = solver.Simulation(device, grid, solver.Burgers(nu=0.05), dt=1e-3)
    sampler = insitu.Sampler(device, simulation.u.interior.size, 1000, every)
    return simulation, sampler, OnlineRun(settings, simulation, sampler) if settings else None


def run(settings, steps, pause=0.0):
    """Advance; the solver is slowed down by a pause where the trainer is to keep up with it."""
    simulation, sampler, training = coupled(settings)
    most = training.steps_at_once if training else None
    moments = sampler.follow(simulation, steps=steps, most=most)
    for _ in training.beside(moments) if training else moments:
        time.sleep(pause)
    return simulation, sampler, training


def test_the_solution_has_the_bits_of_a_run_without_training():
    alone, _, _ = run(None, 600)
    simulation, _, training = run(online(), 600, pause=0.002)
    assert training.trainer.record.steps > 0
    assert torch.equal(insitu.as_torch(simulation.u), insitu.as_torch(alone.u))
    assert training.summary()["slowdown"]["bursts"] == 600 // 2 - 40


def test_pairs_are_the_sampler_s_own_snapshots():
    _, sampler, training = run(online(), 200, pause=0.001)
    buffer = training.trainer.training
    assert training.trainer.record.samples + training.dropped == 100
    pairs = buffer.gather(torch.arange(buffer.pairs))
    for (first, last, _), inputs, targets in zip(
        buffer.origins().tolist(), pairs.inputs, pairs.targets, strict=True
    ):
        assert last == first + 1
        assert torch.equal(inputs.flatten(), sampler.snapshots[first])
        assert torch.equal(targets.flatten(), sampler.snapshots[last])


def test_a_sample_in_flight_is_never_written_again():
    """The writer puts constant fields as fast as it can; the reader must never see two values in one."""
    staging, mixed, read = Staging(torch.empty(1, 1, 200_000), slots=3), [], []
    done = threading.Event()

    def consume():
        while not done.is_set() or read[-1:] != [last]:
            staged = staging.get()
            if staged is None:
                time.sleep(0.0005)
                continue
            low, high = staged.states.min(), staged.states.max()
            if not low == high == staged.sample:
                mixed.append(staged.sample)
            read.append(staged.sample)
            staging.give_back(staged)

    last = -1
    reader = threading.Thread(target=consume)
    reader.start()
    source = torch.empty(1, 1, 200_000)
    for sample in range(300):
        if staging.put(sample, source.fill_(sample)):
            last = sample
    done.set()
    reader.join(timeout=60)
    assert not mixed
    assert read == sorted(read) and len(read) + staging.dropped == 300


def test_a_step_breathes_between_layers_and_keeps_its_bits():
    def trained(overlaps):
        with seeded(0, CPU):
            model = nn.Sequential(
                nn.Conv1d(1, 4, 3), nn.ReLU(inplace=True), nn.ConvTranspose1d(4, 1, 3)
            )
        trainer = OnlineTrainer(online(model=model), CPU, torch.float64)
        for sample in range(8):
            trainer.offer(sample, torch.full((1, 1, 8), 0.1 * sample, dtype=torch.float64))
        breaths = []
        if overlaps:
            overlap = Overlap(trainer)
            trainer.descent.breathe = lambda: None
            overlap._breathe = lambda: breaths.append(1)
        return [float(trainer.step()) for _ in range(3)], len(breaths)

    (alone, _), (beside, breaths) = trained(False), trained(True)
    assert alone == beside
    assert breaths == 3 * 2 * 3, "after each of three layers, forward and backward, in three steps"


def test_where_the_trainer_is_behind_samples_are_left_out_not_waited_for():
    staging = Staging(torch.empty(1, 1, 4), slots=2)
    assert [staging.put(n, torch.full((1, 1, 4), float(n))) for n in range(4)] == [
        True,
        True,
        False,
        False,
    ]
    assert staging.dropped == 2
    first = staging.get()
    assert first.sample == 0
    staging.give_back(first)
    assert staging.put(4, torch.full((1, 1, 4), 4.0))
    assert [staging.get().sample, staging.get().sample, staging.get()] == [1, 4, None]


def test_an_error_of_the_trainer_is_raised_in_the_run():
    with pytest.raises(RuntimeError, match="online training failed: .*shapes"):
        run(online(model=nn.Sequential(nn.Linear(3, 3))), 2000, pause=0.001)
    assert all(thread.name != "online training" for thread in threading.enumerate())


def test_a_loss_that_is_not_finite_ends_the_training_and_not_the_run():
    settings = online(optimizer=lambda weights: torch.optim.SGD(weights, lr=1e30), validate_every=2)
    simulation, sampler, training = coupled(settings)
    after = 0
    for _ in training.beside(sampler.follow(simulation, steps=20_000, most=2)):
        time.sleep(0.001)
        after += training.ended is not None
        if after == 20:
            break
    assert after == 20, "the run went on for 20 bursts"
    assert "expected a finite loss" in training.ended


def test_torch_s_threads_are_what_they_were():
    """Torch gives the number to threads that begin later, too."""
    before, found = torch.get_num_threads(), []
    try:
        torch.set_num_threads(2)
        run(online(threads=1), 100)
        later = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        later.start()
        later.join()
        assert [torch.get_num_threads(), *found] == [2, 2]
    finally:
        torch.set_num_threads(before)


def test_the_thread_ends_with_a_run_that_is_left():
    simulation, sampler, training = coupled(online())
    moments = training.beside(sampler.follow(simulation, steps=500, most=2))
    next(moments)
    moments.close()
    assert all(thread.name != "online training" for thread in threading.enumerate())
    assert simulation.step == 2


def test_a_worker_at_rest_takes_samples_but_no_steps():
    trainer = OnlineTrainer(online(), CPU, torch.float64)
    overlap = Overlap(trainer)
    overlap.start()
    for sample in range(30):
        overlap.offer(sample, torch.full((1, 1, 8), float(sample), dtype=torch.float64))
        time.sleep(0.01)
    overlap.stop()
    assert trainer.record.samples >= 10
    assert trainer.record.steps == 0

"""The ring holds true copies, in order, bounded, whether kernels write them or take() does."""

import numpy as np
import pytest
import torch

from insitu import Sampler, as_torch
from solver import Burgers, DivergenceError, Grid, Moment, ShapeError, Simulation

GRID = Grid(points=(40,), extent=((0.0, 2 * np.pi),))


def make(device, initial="sin", **options):
    return Simulation(device, GRID, Burgers(nu=0.05), initial, dt=1e-3, **options)


def states(device, steps, every, initial="sin"):
    simulation = make(device, initial)
    moments = simulation.steps(steps=steps)
    return np.array([simulation.u.to_host()[0] for moment in moments if moment.step % every == 0])


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("window", [100, 7])
def test_follow_keeps_the_last_window_in_order(host_device, every, window):
    simulation, sampler = make(host_device), Sampler(host_device, 40, window, every)
    for moment in sampler.follow(simulation, steps=50):
        assert moment == simulation.moment
    truth = states(host_device, 50, every)
    assert sampler.taken == 50 // every
    assert sampler.count == min(window, 50 // every)
    assert np.array_equal(sampler.snapshots.numpy(), truth[-window:])
    assert [m.step for m in sampler.moments] == list(range(every, 51, every))[-window:]


def test_take_equals_follow(host_device):
    simulation, sampler = make(host_device), Sampler(host_device, 40, window=4, every=2)
    view = as_torch(simulation.u)
    for moment in simulation.steps(steps=13):
        if sampler.due(moment):
            sampler.take(view, moment)
    assert np.array_equal(sampler.snapshots.numpy(), states(host_device, 13, 2)[-4:])
    assert [m.step for m in sampler.moments] == [6, 8, 10, 12] and sampler.is_full


def test_a_snapshot_is_not_the_running_field(host_device):
    simulation, sampler = make(host_device), Sampler(host_device, 40, window=10)
    list(sampler.follow(simulation, steps=3))
    first = sampler.snapshots[0].clone()
    simulation.advance(steps=5)
    assert torch.equal(sampler.snapshots[0], first)
    assert sampler.snapshots.data_ptr() != as_torch(simulation.u).data_ptr()


def test_snapshots_are_a_view_until_the_ring_turns(host_device):
    sampler = Sampler(host_device, 40, window=5)
    simulation = make(host_device)
    list(sampler.follow(simulation, steps=5))
    assert sampler.snapshots.data_ptr() == sampler.snapshots.data_ptr()
    flushed = sampler.flush()
    assert flushed.shape == (5, 40) and sampler.count == 0
    list(sampler.follow(simulation, steps=2))
    assert [m.step for m in sampler.moments] == [6, 7] and sampler.taken == 7


def test_a_perturbed_field_changes_the_samples(host_device):
    plain, moved = Sampler(host_device, 40, 5), Sampler(host_device, 40, 5)
    list(plain.follow(make(host_device), steps=5))
    simulation = make(host_device)
    as_torch(simulation.u)[0, 7] += 1e-6
    list(moved.follow(simulation, steps=5))
    assert not torch.equal(plain.snapshots, moved.snapshots)
    assert torch.allclose(plain.snapshots, moved.snapshots, atol=1e-5)


def test_no_field_is_copied_beside_the_sampler(host_device):
    simulation, sampler = make(host_device), Sampler(host_device, 40, 20)
    before = host_device.transfers
    list(sampler.follow(simulation, steps=20))
    assert host_device.transfers == before


def test_a_diverged_run_leaves_finite_snapshots(host_device):
    simulation = Simulation(host_device, GRID, Burgers(nu=1.0), dt=1.0, force=True)
    sampler = Sampler(host_device, 40, window=500)
    with pytest.raises(DivergenceError) as caught:
        list(sampler.follow(simulation, steps=500))
        sampler.check(simulation)
    assert sampler.count == caught.value.step - 1 > 0
    assert torch.isfinite(sampler.snapshots).all()


@pytest.mark.parametrize("window", [10, 25, 200])
@pytest.mark.parametrize("early", [False, True])
def test_a_diverged_run_leaves_finite_snapshots_in_a_turned_ring(
    host_device, window, early, monkeypatch
):
    if early:
        monkeypatch.setattr("solver.simulation._CHECK_WORK", 40 * 5)
        monkeypatch.setattr("solver.simulation._CHECK_LEAST", 5)
    simulation = Simulation(host_device, GRID, Burgers(nu=1.0), dt=1.0, force=True)
    sampler = Sampler(host_device, 40, window)
    with pytest.raises(DivergenceError) as caught:
        list(sampler.follow(simulation, steps=67))
        sampler.check(simulation)
    last = caught.value.step - 1
    assert torch.isfinite(sampler.snapshots).all()
    assert (
        all(moment.step <= last for moment in sampler.moments)
        and len(sampler.moments) == sampler.count
    )
    if early or window == 200:
        assert sampler.moments[-1].step == last
        clean = Simulation(host_device, GRID, Burgers(nu=1.0), dt=1.0, force=True)
        states = {moment.step: clean.u.to_host()[0] for moment in clean.steps(steps=last)}
        truth = np.array([states[moment.step] for moment in sampler.moments])
        assert np.array_equal(sampler.snapshots.numpy(), truth)


def test_a_ring_of_another_width_is_refused(host_device):
    sampler = Sampler(host_device, 80, window=3)
    with pytest.raises(ShapeError, match="rows of 40 float64 values"):
        list(sampler.follow(make(host_device), steps=2))


def test_bad_windows(host_device):
    with pytest.raises(ValueError, match="window must be 1 or more snapshots, got 0"):
        Sampler(host_device, 40, window=0)
    assert not Sampler(host_device, 40, window=1, every=5).due(Moment(0, 0.0))

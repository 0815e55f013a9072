"""With sampling.interval every snapshot stands at its time, whatever the steps in between."""

import numpy as np
import pytest

from insitu import CaseError, Sampler
from insitu.config import Sampling, Time
from insitu.schedule import schedule_of
from solver import Burgers, Device, DivergenceError, Grid, Simulation

GRID = Grid((40,), ((0.0, 2 * np.pi),))


def make(device, **options):
    return Simulation(device, GRID, Burgers(nu=0.05), **options)


def follow(simulation, window=100, **asked):
    sampler = Sampler(simulation.device, 40, window)
    list(sampler.follow(simulation, **asked))
    return sampler


def test_times_are_met_exactly_by_steps_that_vary(host_device):
    simulation = make(host_device, cfl=0.7)
    sampler = follow(simulation, until=1.0, interval=0.13)
    assert [m.time for m in sampler.moments] == pytest.approx(0.13 * np.arange(1, 8), abs=1e-14)
    assert simulation.time == 1.0
    again, states = make(host_device, cfl=0.7), []
    for moment in sampler.moments:
        again.advance(until=moment.time)
        states.append(again.u.to_host()[0])
    assert np.array_equal(sampler.snapshots.numpy(), states)


def test_an_end_that_is_an_output_time_is_sampled_once(host_device):
    sampler = follow(make(host_device, cfl=0.7), until=0.3, interval=0.1)
    assert [m.time for m in sampler.moments] == pytest.approx([0.1, 0.2, 0.3], abs=1e-14)


def test_a_run_that_ends_by_its_steps_keeps_what_it_reached(host_device):
    whole = follow(make(host_device, cfl=0.7), until=1.0, interval=0.1)
    last = whole.moments[4].step
    for steps, held in ((last, 5), (last - 1, 4)):
        simulation = make(host_device, cfl=0.7)
        sampler = follow(simulation, until=1.0, steps=steps, interval=0.1)
        assert simulation.step == steps and sampler.count == held


def test_the_ring_turns(host_device):
    sampler = follow(make(host_device, cfl=0.7), 3, until=1.0, interval=0.1)
    assert [m.time for m in sampler.moments] == pytest.approx([0.8, 0.9, 1.0], abs=1e-14)
    assert sampler.taken == 10


def test_a_second_call_goes_on_from_where_the_first_ended(host_device):
    simulation, sampler = make(host_device, cfl=0.7), Sampler(host_device, 40, 100)
    for until in (0.2, 0.4):
        list(sampler.follow(simulation, until=until, interval=0.1))
    assert [m.time for m in sampler.moments] == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=1e-13)


def test_constant_steps_divide_the_interval_and_copy_nothing(host_device):
    simulation = make(host_device)
    limit = simulation.limit
    schedule = schedule_of(simulation, Time(until=1.0), Sampling(interval=0.13))
    assert schedule.every == np.ceil(0.13 / (0.9 * limit)) and schedule.snapshots == 7
    sampler = Sampler(host_device, 40, schedule.snapshots, schedule.every)
    before = host_device.transfers
    list(sampler.follow(simulation, until=1.0))
    assert host_device.transfers == before
    assert [m.time for m in sampler.moments] == pytest.approx(0.13 * np.arange(1, 8), abs=1e-14)
    assert simulation.step == schedule.steps and simulation.time == pytest.approx(1.0)


def test_a_given_step_must_divide_the_interval():
    device = Device.open("Serial")
    schedule = schedule_of(make(device, dt=0.01), Time(until=1.0, dt=0.01), Sampling(interval=0.1))
    assert schedule == (10, None, 10, 100)
    with pytest.raises(CaseError, match="multiple of time.dt = 0.03, got 0.1"):
        schedule_of(make(device, dt=0.03), Time(until=1.0, dt=0.03), Sampling(interval=0.1))


def test_a_run_that_diverges_leaves_finite_snapshots(host_device, monkeypatch):
    monkeypatch.setattr("solver.simulation._CHECK_WORK", 1)
    monkeypatch.setattr("solver.simulation._CHECK_LEAST", 5)
    simulation = Simulation(host_device, GRID, Burgers(nu=1.0), cfl=1.0)
    sampler = Sampler(host_device, 40, 5)
    with pytest.raises(DivergenceError):
        for moment in sampler.follow(simulation, until=5.0, interval=0.1):
            if moment.time > 1.0:
                simulation.u.set(np.full((1, 40), np.inf))
    assert 0.9 < sampler.moments[-1].time <= 1.2 and np.isfinite(sampler.snapshots.numpy()).all()

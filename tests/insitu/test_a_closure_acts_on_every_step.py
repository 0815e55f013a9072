"""A model that supplies a field of the equation acts on the next step, and does nothing where it says nothing."""

import numpy as np
import pytest
import torch
from torch import nn

from insitu import Sampler, as_torch
from insitu.closure import Closure, Correction, missing_forcing
from solver import AdvectionDiffusion, Burgers, Device, Grid, NavierStokes, Simulation, Trial

LINE = Grid((48,), ((0.0, 2 * np.pi),))
PLANE = Grid((16, 12), ((0.0, 2 * np.pi),) * 2)


def swirl(x, y):
    return np.sin(x) * np.cos(2 * y), np.cos(2 * x) * np.sin(y)


CASES = {
    "Burgers": (LINE, Burgers(0.05, "central", forcing=0.0), "sin", "forcing", 1),
    "advection-diffusion": (
        PLANE,
        AdvectionDiffusion(0.05, (0.4, 0.2), forcing=0.0),
        "gaussian",
        "forcing",
        1,
    ),
    "velocity field": (
        PLANE,
        AdvectionDiffusion(0.05, velocity_field=lambda x, y: (0 * x, 0 * y)),
        "gaussian",
        "velocity",
        2,
    ),
    "Navier-Stokes": (PLANE, NavierStokes(0.05, forcing=(0.0, 0.0)), swirl, "forcing", 2),
}


class Times(nn.Module):
    """The state, times a number, as that many outputs."""

    def __init__(self, factor, outputs=1):
        super().__init__()
        self.factor, self.outputs, self.calls = factor, outputs, 0

    def forward(self, states):
        self.calls += 1
        return (self.factor * states).repeat_interleave(self.outputs // states.shape[1], 1)


def start(case, device, **options):
    grid, equation, initial = CASES[case][:3]
    return Simulation(device, grid, equation, initial, dt=0.01, **options)


@pytest.mark.parametrize("case", CASES)
def test_a_model_of_zeros_leaves_the_bits_of_the_solver(case, host_device):
    plain, closed = (start(case, host_device) for _ in range(2))
    field, outputs = CASES[case][3:]
    plain.advance(until=0.2)
    Closure(closed, Times(0.0, outputs), field).advance(until=0.2)
    assert np.array_equal(closed.u.to_host(), plain.u.to_host()) and closed.moment == plain.moment


@pytest.mark.parametrize("case", CASES)
def test_a_changed_weight_changes_the_state(case):
    device, found = Device.open("Serial"), []
    for factor in (0.0, 0.5, 0.5001):
        simulation = start(case, device)
        model = Times(factor, CASES[case][4])
        Closure(simulation, model, CASES[case][3]).advance(steps=10)
        found.append(simulation.u.to_host())
        assert model.calls == 10
    assert np.abs(found[1] - found[0]).max() > 1e-3
    assert 1e-9 < np.abs(found[2] - found[1]).max() < 1e-3


def test_a_linear_forcing_makes_an_exponential():
    """u_t = λu, frozen for a step of Runge and Kutta: u grows by 1 + λΔt in each."""
    grid = Grid((16,), ((0.0, 1.0),))
    simulation = Simulation(
        Device.open("Serial"), grid, AdvectionDiffusion(forcing=0.0), lambda x: 1 + 0 * x, dt=0.01
    )
    Closure(simulation, Times(-2.0)).advance(steps=50)
    assert np.allclose(simulation.u.to_host(), (1 - 0.02) ** 50, rtol=1e-13)


def test_the_field_is_written_in_its_own_memory_and_nothing_leaves_the_device():
    device = Device.open("Serial")
    simulation = start("Burgers", device)
    forcing = as_torch(simulation.fields["forcing"])
    closure, before = Closure(simulation, Times(0.5)), device.transfers
    closure.update()
    assert torch.equal(forcing, 0.5 * as_torch(simulation.u)) and device.transfers == before


def test_it_may_be_frozen_for_several_steps_and_members_are_a_batch():
    simulation = start("Burgers", Device.open("Serial"), members=3)
    model = Times(0.5)
    moments = list(Closure(simulation, model, every=4).follow(steps=10))
    assert model.calls == 3 and [moment.step for moment in moments] == [4, 8, 10]


def test_snapshots_are_those_of_the_closed_run():
    simulations = [start("Burgers", Device.open("Serial")) for _ in range(2)]
    sampler = Sampler(simulations[0].device, 48, 10, 3)
    Closure(simulations[0], Times(0.5), every=2, sampler=sampler).advance(steps=12)
    states = []
    for moment in Closure(simulations[1], Times(0.5), every=2).follow(steps=12):
        if moment.step % 6 == 0:
            states.append(as_torch(simulations[1].u).flatten().clone())
    assert [moment.step for moment in sampler.moments] == [3, 6, 9, 12]
    assert torch.equal(sampler.snapshots[1::2], torch.stack(states))


def test_the_missing_forcing_is_what_a_step_lacked():
    device = Device.open("Serial")
    forced = Simulation(
        device, LINE, Burgers(0.05, "central", forcing=lambda x: 0.3 * np.cos(x)), "sin", dt=0.01
    )
    trial = Trial(start("Burgers", device))
    before = as_torch(forced.u).clone()
    forced.advance(steps=1)
    found = missing_forcing(trial, trial.field(), before, as_torch(forced.u), 0.01, 1)
    expected = 0.3 * np.cos(LINE.axes()[0])
    assert np.abs(found[0].numpy() - expected).max() < 5e-3


def test_statistics_are_those_of_the_pairs_and_a_zero_core_gives_zero():
    core = nn.Conv1d(2, 1, 1, bias=False)
    correction = Correction(core, 2, 1).double()
    states, fields = torch.randn(5, 2, 8).double() * 3 + 1, 7 * torch.ones(5, 1, 8).double()
    correction.fit_statistics(states, fields)
    values = states.transpose(0, 1).flatten(1)
    assert torch.allclose(correction.mean, values.mean(1))
    assert torch.allclose(correction.deviation, values.std(1, correction=0))
    assert correction.scale.tolist() == [7.0]
    nn.init.zeros_(core.weight)
    assert not correction(states).any()


def test_a_field_that_does_not_exist_is_refused():
    simulation = Simulation(Device.open("Serial"), LINE, Burgers(0.05, "central"), "sin")
    with pytest.raises(ValueError, match=r"one of the equation's fields \(none\), got 'forcing'"):
        Closure(simulation, Times(0.0))
    with pytest.raises(ValueError, match="every of 1 or more"):
        Closure(start("Burgers", Device.open("Serial")), Times(0.0), every=0)

"""A run with takeovers ends within the tolerance of the solver's own, or its log says that it may not."""

import json
import math

import numpy as np
import pytest
import torch
from helpers.propagators import DIFFUSIVITY, DT, LEAD, VELOCITY, propagator, start, waves
from torch import nn

from insitu import Sampler, as_torch
from insitu.online import Online, OnlineTrainer, TimeBlocks
from insitu.surrogates import Surrogate
from insitu.takeover import Account, Control, DescentTrainer, Takeover
from solver import AdvectionDiffusion, Device, Recorder, Simulation

UNTIL = 0.5


class Noisy(Surrogate):
    """A right answer with noise in it."""

    def __init__(self, right, noise, seed=0):
        super().__init__(right.core, 1, interval=right.interval)
        self.noise, self.generator = noise, torch.Generator().manual_seed(seed)

    def forward(self, states, parameters=None):
        noise = torch.randn(states.shape, generator=self.generator, dtype=states.dtype)
        return super().forward(states) + self.noise * noise


class Pairs:
    """Keeps what it is fed; promising from the first pair on."""

    def __init__(self, error=1e-6):
        self.pairs, self.found = [], error

    @property
    def error(self):
        return self.found if self.pairs else None

    def offer(self, before, after):
        self.pairs.append((before, after))


@pytest.fixture(scope="module")
def exact():
    return propagator()


def random_weights(seed=0):
    torch.manual_seed(seed)
    core = nn.Sequential(
        nn.Conv1d(1, 8, 5, padding=2, padding_mode="circular"),
        nn.GELU(),
        nn.Conv1d(8, 1, 5, padding=2, padding_mode="circular"),
    )
    return Surrogate(core, 1, interval=LEAD * DT)


def both(surrogate, seed=0, control=None, **options):
    """Return a takeover after a run, and the distance of its end from that of the solver alone."""
    alone, simulation = start(initial=waves(seed)), start(initial=waves(seed))
    alone.advance(until=UNTIL)
    takeover = Takeover(simulation, surrogate, control or Control(), **options)
    takeover.advance(until=UNTIL)
    assert simulation.moment == alone.moment
    truth = alone.u.to_host()
    return takeover, np.linalg.norm(simulation.u.to_host() - truth) / np.linalg.norm(truth)


def waits_of(log):
    return [entry.steps for entry in log.entries if entry.kind == "solved"]


@pytest.mark.parametrize("seed", range(3))
def test_a_right_surrogate_takes_nearly_all_steps(exact, seed):
    takeover, error = both(exact, seed)
    log = takeover.decisions
    assert error < 1e-10 and log.violated is False
    assert log.steps("accepted") > 0.8 * 500 and log.count("rejected") == 0


@pytest.mark.parametrize("noise", [1e-5, 1e-4, 1e-3])
def test_a_noisy_one_is_used_as_far_as_the_tolerance_allows(exact, noise):
    used = []
    for tolerance in (1e-3, 1e-2):
        takeover, error = both(Noisy(exact, noise), 1, Control(tolerance))
        log = takeover.decisions
        estimates = [entry.error for entry in log.entries]
        assert error <= estimates[-1] <= tolerance and max(estimates) <= tolerance
        assert log.violated is False
        used.append(log.steps("accepted"))
    assert used[0] <= used[1] and (used[1] > 0) == (noise < 1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_random_weights_are_rejected_and_leave_the_bits_of_the_solver(seed):
    takeover, error = both(random_weights(seed), seed)
    log = takeover.decisions
    assert error == 0.0 and log.rejection_rate == 1.0 and log.violated is False
    assert waits_of(log)[:2] == [LEAD, 8 * LEAD] and log.count("rejected") == 3


def test_a_surrogate_that_is_not_far_off_is_asked_again_sooner(exact):
    takeover, error = both(Noisy(exact, 1e-3), 1, Control(1e-3))
    log = takeover.decisions
    assert error == 0.0 and log.rejection_rate == 1.0
    assert waits_of(log)[:4] == [LEAD, 2 * LEAD, 4 * LEAD, 8 * LEAD] and log.count("rejected") == 5


def test_what_is_not_finite_is_rejected(exact):
    takeover, error = both(Noisy(exact, math.inf))
    assert error == 0.0 and takeover.decisions.rejection_rate == 1.0


def test_a_slow_drift_is_noticed():
    """Every change a little too large: each interval is nearly right."""
    takeover, error = both(propagator(1.006), 2)
    log = takeover.decisions
    assert 50 < log.steps("accepted") < 450 and log.count("rejected") > 0
    assert 1e-5 < error <= log.entries[-1].error <= 1e-2


def test_the_first_and_every_nth_proposal_are_verified(exact):
    takeover, _ = both(exact, control=Control(ahead=5))
    kinds = [entry.kind for entry in takeover.decisions.entries]
    assert kinds[:7] == ["verified", *["accepted"] * 5, "verified"]
    truths = [entry.true_error for entry in takeover.decisions.entries]
    assert all(
        (truth is None) == (kind != "verified") for truth, kind in zip(truths, kinds, strict=True)
    )


def test_an_estimate_below_the_true_error_raises_all_of_them():
    account = Account(1e-2, safety=2.0)
    account.spend(1e-4, 0.1)
    assert account.error == pytest.approx(2e-4) and not account.correct(2e-4, 1e-4)
    assert account.correct(8e-4, 1e-4)
    assert account.safety == pytest.approx(10.0) and account.error == pytest.approx(1e-3)
    assert account.corrections == 1


def test_a_hopeful_factor_is_found_out_on_the_run():
    takeover, error = both(propagator(1.006), 2, Control(safety=0.05, ahead=3))
    log = takeover.decisions
    assert log.entries[0].kind == "underestimated" and log.entries[0].true_error > 0
    assert takeover.account.safety > 0.9 and error <= log.entries[-1].error <= 1e-2


def test_an_error_that_outgrows_the_tolerance_is_a_violation():
    account = Account(1e-2, growth=1.0)
    assert account.affords(1e-4, 1.0, 0.1, 1.0) and not account.affords(1e-4, 1.0, 0.1, 9.0)
    account.spend(2e-3, 0.1)
    assert not account.exceeds(1.0)
    account.measure(3.0)
    account.wait(0.5)
    assert account.error == pytest.approx(4e-3 * math.exp(1.5)) and account.exceeds(1.0)
    assert not account.affords(0.0, 1.0, 0.1, 0.0)


def test_a_violation_is_never_silent(exact):
    """Errors that were taken in good faith grow faster than anything measured when they were."""
    takeover, _ = both(Noisy(exact, 1e-4), 1)
    assert takeover.decisions.violated is False and takeover.account.error > 0
    takeover.account.measure(20.0)
    with pytest.warns(
        RuntimeWarning, match="expected within 0.01 of the solver's, its error may be"
    ):
        takeover.advance(until=2 * UNTIL)
    log = takeover.decisions
    assert log.violated is True and log.as_dict()["violated"] is True
    assert log.entries[-1].error > 1e-2 and log.entries[-1].kind == "solved"


def test_an_interval_uses_no_more_than_its_share():
    account = Account(1e-2, safety=1.0, generosity=2.0)
    assert account.affords(1.9e-3, 1.0, 0.1, 0.9) and not account.affords(2.1e-3, 1.0, 0.1, 0.9)
    account.spend(5e-3, 0.1)
    assert account.affords(0.9e-3, 1.0, 0.1, 0.9) and not account.affords(1.1e-3, 1.0, 0.1, 0.9)


def test_where_the_state_shrinks_so_does_what_is_allowed():
    account = Account(1e-2, safety=1.0, generosity=100.0)
    account.note_size(1.0, 0.1)
    account.note_size(math.exp(-0.2), 0.1)
    assert account.affords(1e-2 * math.exp(-2.1), 1.0, 0.1, 1.0)
    assert not account.affords(1e-2 * math.exp(-1.9), 1.0, 0.1, 1.0)


def test_growth_is_measured_on_the_run(exact):
    """Waves that decay at known rates: a twin of the slowest decays no slower than that."""
    takeover, _ = both(Noisy(exact, 1e-6), control=Control(ahead=3))
    assert takeover.account.rate == 0.0
    measured = list(takeover.account._rates)
    slowest = -DIFFUSIVITY * (2 * np.pi) ** 2
    assert measured and all(slowest * 40 < rate < 1e-6 for rate in measured)


def test_snapshots_are_equally_spaced_and_of_the_run(exact):
    simulation, alone = start(), start()
    sampler = Sampler(simulation.device, simulation.u.interior.size, 100, 7)
    takeover = Takeover(simulation, exact, sampler=sampler)
    takeover.advance(until=UNTIL)
    recorder = Recorder(7, alone.device.allocate((100, alone.u.interior.size), "float64"))
    alone.advance(until=UNTIL, recorder=recorder)
    assert [m.step for m in sampler.moments] == [m.step for m in recorder.moments]
    assert [m.time for m in sampler.moments] == pytest.approx([m.time for m in recorder.moments])
    truth = recorder.into.to_host()[: recorder.count]
    assert np.abs(sampler.snapshots.numpy() - truth).max() < 1e-3
    assert takeover.decisions.steps("accepted") > 300


def test_the_trainer_gets_what_the_solver_did_and_is_waited_for(exact):
    pairs = Pairs()
    takeover, error = both(exact, trainer=pairs)
    log = takeover.decisions
    assert error < 1e-10 and log.entries[0].kind == "solved" and log.count("verified") >= 1
    solved = [entry.steps for entry in log.entries if entry.kind == "solved"]
    assert len(pairs.pairs) == sum(steps >= LEAD for steps in solved) + log.count("verified")
    for before, after in pairs.pairs:
        simulation = start()
        as_torch(simulation.u).copy_(before[0])
        simulation.advance(steps=LEAD)
        assert np.array_equal(simulation.u.to_host(), after[0].numpy())
    hopeless, _ = both(exact, trainer=Pairs(error=0.5))
    assert hopeless.decisions.steps("solved") == 500


def test_the_log_is_plain(exact):
    takeover, _ = both(exact)
    found = json.loads(json.dumps(takeover.decisions.as_dict()))
    assert found["decisions"]["accepted"] == takeover.decisions.count("accepted")
    assert (
        found["steps_taken_over"]
        + sum(entry["steps"] for entry in found["log"] if entry["kind"] != "accepted")
        == 500
    )


def test_a_network_trained_by_descent_on_the_way_takes_over():
    """It knows nothing at the beginning; the solver goes on until its error is promising."""
    convolution = nn.Conv1d(1, 1, 21, padding=10, padding_mode="circular", bias=False)
    settings = Online(
        Surrogate(convolution, 1, interval=LEAD * DT),
        optimizer=lambda weights: torch.optim.Adam(weights, lr=3e-3),
        warm_up=4,
        capacity=64,
        validation=TimeBlocks(0.25, 6),
        validate_every=50,
    )
    online = OnlineTrainer(settings, torch.device("cpu"), torch.float64)
    simulation, alone = start(), start()
    takeover = Takeover(simulation, online.module, Control(), DescentTrainer(online, 25))
    takeover.advance(until=2.0)
    alone.advance(until=2.0)
    truth, log = alone.u.to_host(), takeover.decisions
    error = np.linalg.norm(simulation.u.to_host() - truth) / np.linalg.norm(truth)
    assert error <= log.entries[-1].error <= 1e-2 and log.violated is False
    assert log.entries[0].kind == "solved" and log.steps("accepted") > 300
    assert online.record.validation[0][1] > 10 * online.record.validation[-1][1]


def test_an_ensemble_is_taken_over_as_one(exact):
    simulation, alone = (start(members=3) for _ in range(2))
    alone.advance(until=UNTIL)
    takeover = Takeover(simulation, exact)
    takeover.advance(until=UNTIL)
    assert np.allclose(simulation.u.to_host(), alone.u.to_host(), rtol=0, atol=1e-10)
    assert takeover.decisions.steps("accepted") > 300


def test_a_step_that_varies_or_does_not_fit_is_refused(exact):
    equation = AdvectionDiffusion(DIFFUSIVITY, (VELOCITY,))
    grid = start().grid
    varying = Simulation(Device.open("Serial"), grid, equation, "sin", cfl=0.5)
    with pytest.raises(ValueError, match="constant time step"):
        Takeover(varying, exact)
    odd = Simulation(Device.open("Serial"), grid, equation, "sin", dt=1.1e-3)
    with pytest.raises(ValueError, match="multiple of the time step"):
        Takeover(odd, exact).advance(until=0.1)
    with pytest.raises(ValueError, match="takeover.tolerance must be > 0"):
        Control(tolerance=0.0)

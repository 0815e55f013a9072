"""Cores that least squares fit: exact for the dynamics that they can write, honest about their error elsewhere."""

import numpy as np
import pytest
import torch
from helpers.propagators import DT, LEAD, POINTS, start, waves

from insitu import as_torch
from insitu.surrogates import PatchCore, ReducedCore, Surrogate
from insitu.surrogates.ridge import monomial_count, monomials
from insitu.takeover import Control, LeastSquares, Takeover
from insitu.training import seeded


def pairs_of(seeds, count=12):
    before, after = [], []
    for seed in seeds:
        simulation = start(initial=waves(seed))
        for _ in range(count):
            before.append(as_torch(simulation.u).clone())
            simulation.advance(steps=LEAD)
            after.append(as_torch(simulation.u).clone())
    return torch.stack(before), torch.stack(after)


CORES = {
    "modes": lambda: ReducedCore(POINTS, 7, 1),
    "quadratic modes": lambda: ReducedCore(POINTS, 7, 2),
    "patches": lambda: PatchCore(1, 1, 10, 7, 1),
}


def fitted(core, pairs):
    surrogate = Surrogate(core, 1, interval=LEAD * DT).double()
    return surrogate, LeastSquares.fit(surrogate, *pairs)


@pytest.mark.parametrize("core", CORES)
def test_waves_in_a_stream_are_learnt_to_round_off(core):
    surrogate, error = fitted(CORES[core](), pairs_of(range(8)))
    before, after = pairs_of([100])
    found = float((surrogate(before) - after).norm() / after.norm())
    assert error < 1e-6 and found < 1e-6
    assert float((before - after).norm() / after.norm()) > 1e-2


def test_a_quadratic_map_of_modes_is_found():
    with seeded(3, torch.device("cpu")):
        modes = torch.linalg.qr(torch.randn(40, 4, dtype=torch.float64))[0]
        matrix = torch.randn(monomial_count(4, 2), 4, dtype=torch.float64)
        states = torch.randn(200, 4, dtype=torch.float64)
    increments = monomials(states, 2) @ matrix
    core = ReducedCore(40, 4, 2)
    shape = (-1, 1, 40)
    error = core.fit((states @ modes.T).view(shape), (increments @ modes.T).view(shape))
    found = core((states @ modes.T).view(shape)).flatten(1) @ modes
    assert error < 1e-9 and torch.allclose(found, increments, atol=1e-8)


def test_what_cannot_be_learnt_shows_in_the_error():
    with seeded(3, torch.device("cpu")):
        noise = torch.randn(80, 1, POINTS, dtype=torch.float64)
    states, _ = pairs_of(range(7))
    for make in CORES.values():
        _, error = fitted(make(), (states[:80], states[:80] + 0.1 * noise))
        assert error > 0.8 * float((0.1 * noise).norm() / states[:80].norm())


def test_patches_hold_on_a_grid_of_another_size():
    surrogate, _ = fitted(CORES["patches"](), pairs_of(range(8)))
    before, _ = pairs_of([100], 1)
    twice = before.repeat(1, 1, 2)
    assert torch.allclose(surrogate(twice), surrogate(before).repeat(1, 1, 2), atol=1e-12)


def test_weights_travel_with_the_state():
    for make in CORES.values():
        surrogate, _ = fitted(make(), pairs_of(range(3)))
        other = Surrogate(make(), 1).double()
        other.load_state_dict(surrogate.state_dict())
        before, _ = pairs_of([100], 1)
        assert torch.equal(other(before), surrogate(before)) and other.interval == LEAD * DT


def test_a_run_that_trains_its_own_surrogate_ends_within_tolerance():
    """Nothing is known at the beginning: the solver makes pairs, the fit becomes promising, and takes over."""
    alone, simulation = start(), start()
    alone.advance(until=1.0)
    surrogate = Surrogate(CORES["patches"](), 1, interval=LEAD * DT).double()
    trainer = LeastSquares(surrogate, first=8)
    takeover = Takeover(simulation, surrogate, Control(1e-2), trainer)
    takeover.advance(until=1.0)
    truth, log = alone.u.to_host(), takeover.decisions
    error = np.linalg.norm(simulation.u.to_host() - truth) / np.linalg.norm(truth)
    assert error <= log.entries[-1].error <= 1e-2 and log.violated is False
    kinds = [entry.kind for entry in log.entries]
    assert kinds[:8] == ["solved"] * 8 and log.steps("accepted") > 300 and trainer.pairs >= 8


def test_other_cores_and_too_few_pairs_are_refused():
    pairs = pairs_of([0], 4)
    with pytest.raises(TypeError, match="expected a ReducedCore or PatchCore, got Conv1d"):
        LeastSquares.fit(Surrogate(torch.nn.Conv1d(1, 1, 1), 1), *pairs)
    with pytest.raises(ValueError, match="4 or more pairs, got 3"):
        fitted(CORES["modes"](), [each[:3] for each in pairs])
    with pytest.raises(ValueError, match="rank from 1 to 21"):
        PatchCore(1, 1, 10, 22)

"""Burgers, Kuramoto-Sivashinsky and Navier-Stokes, on seeds never seen and far from those: within tolerance, and taken over.

The long study, 50 seeds of each, is benchmarks/takeover.py.
"""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from insitu import as_torch
from insitu.surrogates import PatchCore, ReducedCore, Surrogate
from insitu.takeover import Control, LeastSquares, Takeover
from solver import Burgers, Device, Grid, KuramotoSivashinsky, NavierStokes, Simulation

TAU = 2 * np.pi


@dataclass(frozen=True)
class Family:
    """A family of runs, and the core that learns it; its numbers are steps."""

    grid: Grid
    equation: object
    initial: object
    core: object
    dt: float
    lead: int
    steps: int
    runs: int
    control: Control = Control()

    def start(self, seed, size=1.0):
        initial = self.initial(np.random.default_rng(seed), size)
        return Simulation(Device.open("Serial"), self.grid, self.equation, initial, dt=self.dt)


def waves(mean, amplitude):
    def initial(random, size):
        sizes = size * amplitude * random.standard_normal((3, 2))

        def values(x):
            angle = TAU * x / (x[1] - x[0]) / len(x)
            terms = (
                a * np.cos(k * angle) + b * np.sin(k * angle) for k, (a, b) in enumerate(sizes, 1)
            )
            return mean + sum(terms)

        return values

    return initial


def flow(random, size):
    """Two vortex sheets across each other, with random strengths; larger ones are turned as well."""
    a, b = size * 0.5 * random.uniform(-1, 1, 2)
    turn = 1.0 if size > 1 else 0.0
    return lambda x, y: (a * np.sin(y + turn), b * np.sin(x) + 0.3 * np.cos(x + turn))


FAMILIES = {
    "Burgers": Family(
        Grid((64,), ((0.0, TAU),)),
        Burgers(0.1),
        waves(0.5, 0.25),
        lambda: PatchCore(1, 1, 6, 7, 3),
        dt=4e-3,
        lead=12,
        steps=300,
        runs=8,
    ),
    "Kuramoto-Sivashinsky": Family(
        Grid((64,), ((0.0, 22.0),)),
        KuramotoSivashinsky(),
        waves(0.0, 0.5),
        lambda: PatchCore(1, 1, 8, 8, 3),
        dt=1.25e-3,
        lead=80,
        steps=3200,
        runs=8,
        control=Control(growth=0.1),
    ),
    "Navier-Stokes": Family(
        Grid((16, 16), ((0.0, TAU), (0.0, TAU))),
        NavierStokes(0.05),
        flow,
        lambda: ReducedCore(512, 12, 2),
        dt=0.04,
        lead=6,
        steps=60,
        runs=16,
    ),
}


def trained(family):
    before, after = [], []
    for seed in range(1000, 1000 + family.runs):
        simulation = family.start(seed)
        for _ in range(family.steps // family.lead):
            before.append(as_torch(simulation.u).clone())
            simulation.advance(steps=family.lead)
            after.append(as_torch(simulation.u).clone())
    components = before[0].shape[0]
    surrogate = Surrogate(family.core(), components, interval=family.lead * family.dt).double()
    LeastSquares.fit(surrogate, torch.stack(before), torch.stack(after))
    return surrogate


@pytest.mark.parametrize("name", FAMILIES)
def test_on_seeds_never_seen_and_far_ones(name):
    family, taken = FAMILIES[name], []
    surrogate = trained(family)
    for seed, size in ((0, 1.0), (1, 1.0), (2, 1.0), (3, 2.5)):
        alone, simulation = (family.start(seed, size) for _ in range(2))
        alone.advance(steps=family.steps)
        takeover = Takeover(simulation, surrogate, family.control)
        takeover.advance(steps=family.steps)
        truth, log = alone.u.to_host(), takeover.decisions
        error = np.linalg.norm(simulation.u.to_host() - truth) / np.linalg.norm(truth)
        assert error <= 1e-2 and log.violated is False
        assert error <= max(log.entries[-1].error, 1e-12)
        taken.append(log.steps("accepted") / family.steps)
    assert np.mean(taken[:3]) > 0.4, taken

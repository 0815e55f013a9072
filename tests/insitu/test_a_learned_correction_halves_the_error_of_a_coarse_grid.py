"""Burgers on 64 points, with a correction learnt beside a run on 1024, comes closer to that run from other initial values.

The long study is benchmarks/closure.py; here few seeds and a fit in closed form.
"""

import numpy as np
import torch

from insitu import as_torch
from insitu.closure import Closure, Correction, missing_forcing
from insitu.surrogates import PatchCore
from solver import Burgers, Device, Grid, Simulation, Trial

COARSE, FINE, NU = 64, 1024, 0.05
DT, SUBSTEPS, UNTIL = 0.008, 32, 1.6


def start(points, seeds):
    grid = Grid((points,), ((0.0, 2 * np.pi),))
    x, values = grid.axes()[0], []
    for random in map(np.random.default_rng, seeds):
        sizes, mean = 0.25 * random.standard_normal((3, 2)), 0.3 * random.standard_normal()
        waves = [a * np.cos(k * x) + b * np.sin(k * x) for k, (a, b) in enumerate(sizes, 1)]
        values.append([mean + sum(waves)])
    return Simulation(
        Device.open("Serial"),
        grid,
        Burgers(NU, "central", forcing=0.0),
        np.array(values),
        dt=DT / (SUBSTEPS if points == FINE else 1),
        members=len(values),
    )


def shown(fine):
    return as_torch(fine.u)[..., :: FINE // COARSE]


def learnt():
    """Let the fine run go on, and fit what the coarse kernels miss in a step, every fourth time."""
    seeds = range(1000, 1008)
    fine, coarse = start(FINE, seeds), start(COARSE, seeds)
    trial, states, forcings = Trial(coarse), [], []
    scratch = trial.field()
    for n in range(round(UNTIL / DT)):
        before = shown(fine).clone()
        fine.advance(steps=SUBSTEPS)
        if n % 4 == 0:
            states.append(before)
            forcings.append(missing_forcing(trial, scratch, before, shown(fine), DT, 1))
    pairs = torch.cat(states), torch.cat(forcings)
    correction = Correction(PatchCore(1, 1, 3, 5, 3), 1).double()
    correction.fit_statistics(*pairs)
    normal = (pairs[0] - correction.mean) / correction.deviation
    correction.core.fit(normal, pairs[1] / correction.scale)
    return correction


def errors(model=None):
    fine, coarse = (start(points, range(8)) for points in (FINE, COARSE))
    fine.advance(until=UNTIL)
    if model is None:
        coarse.advance(until=UNTIL)
    else:
        Closure(coarse, model).advance(until=UNTIL)
    truth = shown(fine)
    return (as_torch(coarse.u) - truth).norm(dim=(1, 2)) / truth.norm(dim=(1, 2))


def test_on_initial_values_never_seen():
    plain, corrected = errors(), errors(learnt())
    assert plain.median() > 0.01
    assert corrected.median() < 0.5 * plain.median()
    assert (corrected < 0.5 * plain).all()

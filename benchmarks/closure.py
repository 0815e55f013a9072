"""Coarse Burgers, 64 points, with a correction learnt while a fine run, 1024 points, goes on beside it: errors on other seeds.

python benchmarks/closure.py [--output benchmarks/results/closure.json]

Viscosities at which the coarse grid resolves the fronts, and nearly so; below, central differences blow up. The fine run's
states on the coarse points are views of its memory; what the coarse kernels miss between two of them is what is learnt.
"""

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from insitu import as_torch
from insitu.closure import Closure, Correction, missing_forcing
from insitu.surrogates import PatchCore
from insitu.training import Training, seeded, train
from solver import Burgers, Device, Grid, Simulation, Trial

COARSE, FINE = 64, 1024
TAU = 2 * np.pi
DT, UNTIL = 0.008, 2.0
SUBSTEPS = 48
VISCOSITY = {"resolved": 0.1, "nearly resolved": 0.05}


def waves(seeds):
    """Return initial values of an ensemble, sums of three waves around a mean stream."""
    sizes = [
        (0.25 * random.standard_normal((3, 2)), 0.3 * random.standard_normal())
        for random in map(np.random.default_rng, seeds)
    ]

    def initial(x):
        return np.stack(
            [
                mean
                + sum(
                    a * np.cos((k + 1) * x) + b * np.sin((k + 1) * x)
                    for k, (a, b) in enumerate(each)
                )
                for each, mean in sizes
            ]
        )[:, None]

    return initial


def start(device, points, seeds, nu):
    grid = Grid((points,), ((0.0, TAU),))
    equation = Burgers(nu, "central", forcing=0.0)
    dt = DT / (SUBSTEPS if points == FINE else 1)
    values = waves(seeds)(grid.axes()[0])
    return Simulation(device, grid, equation, values, dt=dt, members=len(seeds))


def shown(fine):
    """Return the fine state at the coarse points, a view of its memory."""
    return as_torch(fine.u)[..., :: FINE // COARSE]


def pairs_of(device, seeds, nu, every=1):
    """Run the fine grid, and look at what the coarse kernels miss in each coarse step."""
    fine, coarse = start(device, FINE, seeds, nu), start(device, COARSE, seeds, nu)
    trial = Trial(coarse)
    scratch, states, forcings = trial.field(), [], []
    for n in range(round(UNTIL / DT)):
        before = shown(fine).clone()
        fine.advance(steps=SUBSTEPS)
        if n % every == 0:
            states.append(before)
            forcings.append(missing_forcing(trial, scratch, before, shown(fine), DT, 1))
    return torch.cat(states), torch.cat(forcings)


def network(channels=16, seed=0):
    """Return a local core, 13 points wide."""
    with seeded(seed, torch.device("cpu")):
        sizes, parts = (1, channels, channels, 1), []
        for inputs, outputs in zip(sizes[:-1], sizes[1:], strict=True):
            parts += [nn.Conv1d(inputs, outputs, 5, padding=2, padding_mode="circular"), nn.GELU()]
        return nn.Sequential(*parts[:-1]).double()


def learnt(states, forcings, core):
    """Return a correction around a core, by descent or in closed form."""
    correction = Correction(core, 1).double()
    correction.fit_statistics(states, forcings)
    normal, wanted = (
        (states - correction.mean) / correction.deviation,
        forcings / correction.scale,
    )
    if isinstance(core, PatchCore):
        core.fit(normal, wanted)
    else:
        train(core, normal, wanted, SETTINGS)
    return correction


def errors(device, seeds, nu, correction=None):
    """Return the relative error of each member against the fine run at the end."""
    fine, coarse = start(device, FINE, seeds, nu), start(device, COARSE, seeds, nu)
    fine.advance(until=UNTIL)
    if correction is None:
        coarse.advance(until=UNTIL)
    else:
        Closure(coarse, correction).advance(until=UNTIL)
    truth = shown(fine)
    return ((as_torch(coarse.u) - truth).norm(dim=(1, 2)) / truth.norm(dim=(1, 2))).tolist()


def study(device, nu):
    began = time.perf_counter()
    states, forcings = pairs_of(device, range(1000, 1012), nu, every=4)
    ran = time.perf_counter()
    plain = np.array(errors(device, range(50), nu))
    found = {
        "nu": nu,
        "pairs": len(states),
        "seconds_of_the_fine_run": ran - began,
        "error_coarse": float(np.median(plain)),
    }
    for name, make in CORES.items():
        started = time.perf_counter()
        correction = learnt(states, forcings, make())
        seconds = time.perf_counter() - started
        corrected = np.array(errors(device, range(50), nu, correction))
        ratios = corrected / plain
        found[name] = {
            "seconds_of_the_training": seconds,
            "error_corrected": float(np.median(corrected)),
            "ratio_median": float(np.median(ratios)),
            "ratio_worst": float(ratios.max()),
            "halved": int((ratios <= 0.5).sum()),
            "seeds": len(ratios),
        }
    return found


CORES = {"patches": lambda: PatchCore(1, 1, 3, 5, 3), "network": network}
SETTINGS = Training(epochs=60, batch_size=16, learning_rate=3e-3, patience=15)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = Device.open("Serial")
    rows = {}
    for name, nu in VISCOSITY.items():
        rows[name] = study(device, nu)
        print(name, json.dumps(rows[name]), flush=True)
    about = {
        "benchmark": "closure",
        "command": "python benchmarks/closure.py --output benchmarks/results/closure.json",
        "machine": platform.processor() or platform.machine(),
        "torch": torch.__version__,
    }
    if options.output:
        options.output.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

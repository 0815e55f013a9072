"""By how much training beside the solver slows it down, under a budget of 10 % and without one.

OMP_NUM_THREADS=1 python benchmarks/online_overlap.py [--rounds 5] [--output benchmarks/results/online_overlap.json]

In each round every pair of an equation and a model is run alone, with training under the budget, and with training that nothing
holds back, one after the other. A burst, the solver's launches between two looks of the controller, is timed from outside. The
inflation is the 95th percentile of the bursts with training over that of the bursts of the run alone, minus one; bursts
count from the moment on at which the controller lets training begin, its rests included. It needs a core for the solver and
one for the training, and a machine on which nothing else runs: the load average is printed and stored.
"""

import argparse
import json
import math
import os
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from insitu import Sampler
from insitu.online import Online, TimeBlocks
from insitu.online.run import OnlineRun
from insitu.surrogates import FNO, ResidualCNN, Surrogate
from insitu.training import seeded
from solver import (
    AdvectionDiffusion,
    Burgers,
    Device,
    Grid,
    KuramotoSivashinsky,
    NavierStokes,
    Simulation,
)

BUDGET = 0.1
UNLIMITED = 1e9
SKIPPED = 45  # bursts: the first ones, and the controller's baseline


def mlp(points, width):
    return nn.Sequential(
        nn.Flatten(1),
        nn.Linear(points, width),
        nn.GELU(),
        nn.Linear(width, width),
        nn.GELU(),
        nn.Linear(width, points),
        nn.Unflatten(1, (1, points)),
    )


def burgers(device):
    grid = Grid(points=(2048,), extent=((0.0, 2 * math.pi),))
    return Simulation(device, grid, Burgers(nu=0.01), np.sin)


def advection_diffusion(device):
    grid = Grid(points=(256, 256), extent=((0.0, 1.0),) * 2)
    return Simulation(device, grid, AdvectionDiffusion(1e-4, (1.0, 0.5)), "gaussian")


def kuramoto_sivashinsky(device):
    grid = Grid(points=(256,), extent=((0.0, 22.0 * math.pi),))
    return Simulation(
        device, grid, KuramotoSivashinsky(), lambda x: np.cos(x / 11) + np.sin(x / 22)
    )


def navier_stokes(device):
    def initial(x, y):
        return np.sin(x) * np.cos(y), -np.cos(x) * np.sin(y)

    grid = Grid(points=(64, 64), extent=((0.0, 2 * math.pi),) * 2)
    return Simulation(device, grid, NavierStokes(nu=1e-3), initial, dt=0.02)


PAIRS = {  # simulation, core of the surrogate, pairs of a training step
    "1-D Burgers, residual CNN": (
        burgers,
        lambda: ResidualCNN(1, 1, 1, width=16, dilations=(1, 2, 1)),
        16,
    ),
    "2-D advection-diffusion, residual CNN": (
        advection_diffusion,
        lambda: ResidualCNN(2, 1, 1, width=8, kernel=3, dilations=(1,)),
        2,
    ),
    "2-D Navier-Stokes, FNO": (navier_stokes, lambda: FNO(2, 2, 2, modes=8, width=8, layers=2), 8),
    "Kuramoto-Sivashinsky, MLP": (kuramoto_sivashinsky, lambda: mlp(256, 256), 32),
}


def timed(moments, seconds):
    """Pass moments on and note how long each took to come."""
    while True:
        started = time.perf_counter()
        moment = next(moments, None)
        if moment is None:
            return
        seconds.append(time.perf_counter() - started)
        yield moment


def steps_of(make, device, milliseconds):
    """Return the solver's steps that take so long."""
    simulation = make(device)
    seconds = []
    for _ in range(20):
        started = time.perf_counter()
        simulation.advance(steps=20)
        seconds.append(time.perf_counter() - started)
    return max(1, round(1e-3 * milliseconds * 20 / min(seconds)))


def run(pair, device, steps, bursts, budget):
    """Return the seconds of each burst and what the training says, None without a budget."""
    make, core, batch = PAIRS[pair]
    simulation = make(device)
    sampler = Sampler(device, simulation.u.interior.size, 8, steps)
    seconds = []
    moments = timed(sampler.follow(simulation, steps=bursts * steps, most=steps), seconds)
    if budget is None:
        for _ in moments:
            pass
        return np.array(seconds[SKIPPED:]), None
    with seeded(0, torch.device("cpu")):
        module = Surrogate(core(), simulation.u.components)
    settings = Online(
        model=module,
        batch_size=batch,
        capacity=64,
        validation=TimeBlocks(0.2, 8),
        mode="overlapped",
        budget=budget,
        threads=1,
        precision="float32",
    )
    training = OnlineRun(settings, simulation, sampler)
    started = time.perf_counter()
    for _ in training.beside(moments):
        pass
    wall = time.perf_counter() - started
    return np.array(seconds[SKIPPED:]), training.summary() | {"wall_seconds": wall}


def measure(pair, device, rounds, bursts, milliseconds):
    steps = steps_of(PAIRS[pair][0], device, milliseconds)
    rows = []
    for _ in range(rounds):
        alone, _ = run(pair, device, steps, bursts, None)
        held, report = run(pair, device, steps, bursts, BUDGET)
        free, unlimited = run(pair, device, steps, bursts, UNLIMITED)
        reference = np.quantile(alone, 0.95)
        rows.append(
            {
                "load": os.getloadavg()[0],
                "alone_ms": {"p50": 1e3 * np.median(alone), "p95": 1e3 * reference},
                "inflation": np.quantile(held, 0.95) / reference - 1,
                "median_inflation": np.median(held) / np.median(alone) - 1,
                "own_estimate": report["slowdown"]["inflation"],
                "mean_duty": report["slowdown"]["mean_duty"],
                "training_steps": report["steps"],
                "busy": report["seconds"] / report["wall_seconds"],
                "loss": [report["loss"][0], report["loss"][-1]] if report["loss"] else None,
                "unlimited_inflation": np.quantile(free, 0.95) / reference - 1,
                "unlimited_training_steps": unlimited["steps"],
            }
        )
        print(pair, json.dumps(rows[-1]), flush=True)
    return {
        "pair": pair,
        "steps_of_a_burst": steps,
        "bursts": bursts,
        "inflation": statistics.median(row["inflation"] for row in rows),
        "unlimited_inflation": statistics.median(row["unlimited_inflation"] for row in rows),
        "training_steps": statistics.median(row["training_steps"] for row in rows),
        "unlimited_training_steps": statistics.median(
            row["unlimited_training_steps"] for row in rows
        ),
        "mean_duty": statistics.median(row["mean_duty"] for row in rows),
        "rounds": rows,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bursts", type=int, default=2000)
    parser.add_argument("--milliseconds", type=float, default=3.0, help="of a burst")
    parser.add_argument("--pairs", nargs="+", choices=PAIRS, default=list(PAIRS))
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = Device.open("Serial")
    about = {
        "device": str(device),
        "torch": torch.__version__,
        "cores": os.cpu_count(),
        "budget": BUDGET,
    }
    print(json.dumps(about | {"load": os.getloadavg()}), flush=True)
    rows = [
        measure(pair, device, options.rounds, options.bursts, options.milliseconds)
        for pair in options.pairs
    ]
    if options.output:
        options.output.write_text(json.dumps(about | {"pairs": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

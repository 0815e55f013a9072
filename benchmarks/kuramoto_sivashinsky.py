"""Statistics of Kuramoto-Sivashinsky on L = 22: the largest Lyapunov exponent and the mean energy, by ensembles of pairs.

    python benchmarks/kuramoto_sivashinsky.py [--device Serial] [--points 32 48 64] [--output FILE]

A pair is a solution and its neighbour at a distance of 1e-6, which is pulled back to it every 5 time units through a NumPy view
of the ensemble; the exponent is the mean rate at which they part. Known: .048 +- .001 (Cvitanovic, Davidchack & Siminos 2010,
doi:10.1137/070705623) and <u^2/2> about .703. The errors are standard errors over the pairs.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

import solver

LENGTH, DISTANCE, BURST = 22.0, 1e-6, 5.0
WARM_UP = 200.0  # time units before anything is counted, and 100 more for the directions to align
RESULTS = Path(__file__).parent / "results" / "kuramoto_sivashinsky.json"


def start_of(x: np.ndarray, pairs: int, random: np.random.Generator) -> np.ndarray:
    """Return random long waves, shape (2 pairs, 1, points), each twice."""
    waves = sum(
        random.standard_normal((pairs, 1))
        * np.cos(2 * np.pi * k * x / LENGTH + random.uniform(0, 2 * np.pi, (pairs, 1)))
        for k in range(1, 5)
    )
    return np.concatenate([waves, waves])[:, None]


def study(device: solver.Device, points: int, pairs: int, duration: float, seed: int) -> dict:
    """March the ensemble and return its statistics."""
    random = np.random.default_rng(seed)
    grid = solver.Grid((points,), ((0.0, LENGTH),))
    start = start_of(grid.axes()[0], pairs, random)
    equation = solver.KuramotoSivashinsky()
    simulation = solver.Simulation(device, grid, equation, start, members=2 * pairs)
    began = time.perf_counter()
    simulation.advance(until=WARM_UP)
    u = np.asarray(simulation.u)[:, 0]
    first, second = u[:pairs], u[pairs:]
    apart = random.standard_normal((pairs, points))
    apart -= apart.mean(1, keepdims=True)
    rates, energies = [], []
    for burst in range(round((duration + 100) / BURST)):
        second[:] = first + DISTANCE * apart / np.linalg.norm(apart, axis=1, keepdims=True)
        simulation.advance(until=WARM_UP + (burst + 1) * BURST)
        apart = second - first
        if burst * BURST >= 100:
            rates.append(np.log(np.linalg.norm(apart, axis=1) / DISTANCE) / BURST)
            energies.append((first**2).mean(1) / 2)
    rate, energy = np.mean(rates, 0), np.mean(energies, 0)
    return {
        "points": points,
        "pairs": pairs,
        "time units of a pair": duration,
        "dt": simulation.dt_taken,
        "steps": simulation.step,
        "lyapunov exponent": float(rate.mean()),
        "its standard error": float(rate.std(ddof=1) / np.sqrt(pairs)),
        "mean energy": float(energy.mean()),
        "standard error of the energy": float(energy.std(ddof=1) / np.sqrt(pairs)),
        "largest sum of u": float(np.abs(u.sum(1)).max()),
        "seconds": round(time.perf_counter() - began, 1),
    }


def main() -> None:
    """Run the studies and store them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="Serial")
    parser.add_argument("--points", type=int, nargs="+", default=[32, 48, 64])
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--duration", type=float, default=3000.0)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    device = solver.Device.open(options.device)
    if not device.is_host:
        parser.error("the pairs are pulled back through NumPy views: choose Serial or OpenMP")
    studies = []
    for seed, points in enumerate(options.points):
        studies.append(study(device, points, options.pairs, options.duration, seed))
        print(json.dumps(studies[-1]), flush=True)
    result = {
        "command": " ".join(["python", *sys.argv]),
        "device": str(device),
        "cores": os.cpu_count(),
        "reference": {"lyapunov exponent": [0.048, 0.001], "mean energy": 0.703},
        "studies": studies,
    }
    options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

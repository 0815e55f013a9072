"""Published numbers of incompressible flows: the double shear layer at t = 1 and the lid-driven cavity at Re = 100.

python benchmarks/navier_stokes.py [--device OpenMP] [--output benchmarks/results/navier_stokes.json]
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

from solver import Device, Wall

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from helpers.flows import Flow  # noqa: E402

UNIT = ((0.0, 1.0), (0.0, 1.0))
SHEAR = {"energy": 0.3791331834, "enstrophy": 20.876190107, "vorticity_max": 18.566255569}
CAVITY = {"u_min": -0.21404, "v_max": 0.1795728, "v_min": -0.2538030}


def shear_layer(device, n):
    def initial(x, y):
        u = np.where(y <= 0.5, np.tanh(30 * (y - 0.25)), np.tanh(30 * (0.75 - y)))
        return u, 0.05 * np.sin(2 * np.pi * x)

    flow = Flow(device, (n, n), initial, 1e-3, extent=UNIT)
    iterations, steps, seconds = march(flow, 1.0, 1.1)
    u = flow.values
    vorticity = n * (u[1] - np.roll(u[1], 1, 0)) - n * (u[0] - np.roll(u[0], 1, 1))
    found = (0.5 * (u**2).sum() / n**2, 0.5 * (vorticity**2).mean(), np.abs(vorticity).max())
    return report("shear layer", flow, n, SHEAR, found, iterations, steps, seconds)


def cavity(device, n):
    sides = ((Wall(), Wall()), (Wall(), Wall((1.0, 0.0))))
    flow = Flow(device, (n, n), lambda x, y: (0 * x, 0 * y), 0.01, sides, UNIT)
    iterations, steps, seconds = march(flow, 20.0, 1.0)
    u, v = flow.values[0][n // 2], flow.values[1][:, n // 2]
    found = (-peak(-u), peak(v), -peak(-v))
    return report("cavity", flow, n, CAVITY, found, iterations, steps, seconds)


def march(flow, until, speed):
    limit = flow.equation.stable_time_step(flow.grid, speed, flow.method)
    steps = int(np.ceil(until / (0.9 * limit)))
    iterations, start = 0, time.perf_counter()
    for _ in range(steps):
        flow.scheme.step(flow.u, until / steps)
        iterations += sum(flow.scheme.iterations)
    return iterations, steps, time.perf_counter() - start


def peak(values):
    """Return the maximum of the parabola through the largest value and its neighbours."""
    i = int(np.argmax(values))
    low, here, high = values[i - 1 : i + 2]
    return here - (high - low) ** 2 / (8 * (low - 2 * here + high))


def report(case, flow, n, reference, found, iterations, steps, seconds):
    values = dict(zip(reference, map(float, found), strict=True))
    return {
        "case": case,
        "points": n,
        **values,
        "relative_error": {name: values[name] / truth - 1 for name, truth in reference.items()},
        "divergence": flow.scheme.divergence(flow.u),
        "iterations_per_stage": iterations / (3 * steps),
        "steps": steps,
        "ms_per_step": 1e3 * seconds / steps,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="OpenMP")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    device, rows = Device.open(options.device), []
    for case, sizes in ((shear_layer, (64, 128, 256, 512)), (cavity, (32, 64, 128))):
        for n in sizes:
            rows.append(case(device, n))
            print(json.dumps(rows[-1]), flush=True)
    if options.output:
        text = json.dumps({"benchmark": "navier_stokes", "rows": rows}, indent=2)
        options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()

"""Iterations of the pressure solver by grid, and what a cycle and an iteration cost in copies of one array of the state.

python benchmarks/multigrid.py [--device OpenMP] [--output benchmarks/results/multigrid.json]
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np

from solver import Device, Grid, Periodic, Wall
from solver.poisson import Poisson

GRIDS = [
    *((n, n) for n in (64, 96, 128, 192, 256, 512, 1024, 2048)),
    *((n, n, n) for n in (32, 48, 64, 96, 128, 192)),
]
SIDES = {"periodic": (Periodic(), Periodic()), "walls": (Wall(), Wall())}
COPY = """
@kernel void copy(const long n, const double *a @dim(n), double *b @dim(n)) {
  for (long i = 0; i < n; ++i; @tile(BLOCK, @outer, @inner)) {
    b[i] = a[i];
  }
}
"""


def best(device, function, seconds=0.5):
    """Return the least time of a call, in milliseconds."""
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        function()
        device.finish()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def memory(device, values):
    result = device.allocate((values.size,), "float64")
    result.copy_from(values.ravel())
    return result


def measure(device, points, sides):
    grid = Grid(points, ((0.0, 1.0),) * len(points), (SIDES[sides],) * len(points))
    poisson = Poisson(device, grid, "float64")
    f = memory(device, np.random.default_rng(0).standard_normal(grid.size))
    zeros = np.zeros(grid.size)
    x = memory(device, zeros)
    poisson.solve(f, x)
    row = {"points": points, "sides": sides, "iterations": poisson.iterations}
    kernel = device.build(COPY, "copy", {"BLOCK": 4096 if device.is_host else 256})
    row["copy_ms"] = best(device, lambda: kernel(grid.size, f, x))
    row["cycle_ms"] = best(device, lambda: poisson.multigrid.cycle(f, 0.0, 1.0))

    def solve():
        x.copy_from(zeros)
        poisson.solve(f, x)

    row["iteration_ms"] = best(device, solve) / poisson.iterations
    row["cycle_copies"] = row["cycle_ms"] / row["copy_ms"]
    row["iteration_copies"] = row["iteration_ms"] / row["copy_ms"]
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="OpenMP")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    device, rows = Device.open(options.device), []
    for points in GRIDS:
        for sides in SIDES:
            rows.append(measure(device, points, sides))
            print(json.dumps(rows[-1]), flush=True)
    if options.output:
        report = {
            "benchmark": "multigrid",
            "device": options.device,
            "threads": os.environ.get("OMP_NUM_THREADS"),
            "tolerance": 1e-8,
            "rows": rows,
        }
        options.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

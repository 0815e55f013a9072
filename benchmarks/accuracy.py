"""Error and observed order of the Burgers schemes against the exact solution, by grid.

python benchmarks/accuracy.py [--output benchmarks/results/accuracy.json]
"""

import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np

from solver import Burgers, Device, Grid, Simulation

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from helpers.burgers_twin import exact  # noqa: E402

NU, POINTS, TIMES = 0.01, (128, 256, 512, 1024), (0.5, 1.0, 2.0)


def error(device, scheme, points, until):
    grid = Grid(points=(points,), extent=((0.0, 2 * math.pi),))
    simulation = Simulation(device, grid, Burgers(nu=NU, scheme=scheme))
    simulation.advance(until=until)
    truth = exact(grid.coordinates()[0], until, NU)
    return float(np.linalg.norm(simulation.u.to_host()[0] - truth) / np.linalg.norm(truth))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    device = Device.open("Serial")
    rows = []
    for until in TIMES:
        errors = [error(device, "conservative", points, until) for points in POINTS]
        order = -float(np.polyfit(np.log(POINTS), np.log(errors), 1)[0])
        rows.append({"time": until, "points": POINTS, "errors": errors, "order": order})
        print(until, errors, order)
    if options.output:
        options.output.write_text(
            json.dumps({"benchmark": "accuracy", "nu": NU, "rows": rows}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()

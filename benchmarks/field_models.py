"""Milliseconds of a field model on a rank's block, with a wide halo and staged, and which of them the model chooses itself.

mpirun -n 2 python benchmarks/field_models.py [--device Serial] [--output benchmarks/results/field_models.json]
"""

import argparse
import itertools
import json
import os
import statistics
import time
from pathlib import Path

import torch
from mpi4py import MPI
from torch import nn

from insitu.bridge import torch_device
from insitu.locality import FieldModel, influence_of
from solver import AdvectionDiffusion, Device, Grid, Simulation

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
CASES = [  # points, channels, layers, precision
    *(
        ((n, n), channels, layers, torch.float32)
        for n in (64, 256)
        for channels in (4, 16)
        for layers in (2, 4, 8, 16)
    ),
    ((256, 256), 16, 8, torch.float64),
    ((4096,), 16, 8, torch.float32),
    ((32, 32, 32), 8, 4, torch.float32),
    ((64, 64, 64), 8, 8, torch.float32),
]
WAYS = {"wide": False, "staged": True, "chosen": None}


def network(axes, channels, layers):
    sizes = [1, *[channels] * (layers - 1), 1]
    parts = []
    for inputs, outputs in itertools.pairwise(sizes):
        convolution = CONVOLUTIONS[axes]
        parts += [
            convolution(inputs, outputs, 5, padding=2, padding_mode="circular"),
            nn.ReLU(),
        ]
    return nn.Sequential(*parts[:-1])


def seconds(comm, model, field, device):
    """Return how long the slowest rank takes."""
    comm.Barrier()
    start = time.perf_counter()
    model(field)
    device.finish()
    return comm.allreduce(time.perf_counter() - start, MPI.MAX)


def measure(comm, device, points, channels, layers, precision, runs):
    axes = len(points)
    grid = Grid(points, ((0.0, 1.0),) * axes)
    equation = AdvectionDiffusion(0.01, (1.0,) * axes)
    block = Simulation(device, grid, equation, "gaussian", comm=comm).grid
    torch.manual_seed(0)
    module = network(axes, channels, layers).to(torch_device(device), precision)
    field = torch.randn(1, *block.points, dtype=precision, device=torch_device(device))
    models = {name: FieldModel(module, device, block, staged) for name, staged in WAYS.items()}
    times = {name: [] for name in models}
    for _ in range(runs + 2):
        for name, model in models.items():
            times[name].append(seconds(comm, model, field, device))
    return {
        "points": points,
        "channels": channels,
        "layers": layers,
        "precision": str(precision),
        "weights": sum(weight.numel() for weight in module.parameters()),
        "influence": influence_of(module, axes).cells,
        **{f"{name}_ms": 1e3 * statistics.median(times[name][2:]) for name in WAYS},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="Serial")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    comm, rows = MPI.COMM_WORLD, []
    device = Device.open(options.device, comm)
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // comm.size))
    for case in CASES:
        rows.append(measure(comm, device, *case, options.runs))
        if comm.rank == 0:
            print(json.dumps(rows[-1]), flush=True)
    if options.output and comm.rank == 0:
        about = {"ranks": comm.size, "device": str(device), "torch": torch.__version__}
        options.output.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

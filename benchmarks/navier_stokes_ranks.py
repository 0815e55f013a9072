"""Incompressible flow on ranks: time of a step, the share of it that goes into communication, and what is sent.

python benchmarks/navier_stokes_ranks.py [--ranks 1 2 4] [--repeats 5] [--output benchmarks/results/navier_stokes_ranks.json]

Strong scaling keeps the grid, weak scaling the cells of a rank. Every run has processes of its own, the runs of all numbers of
ranks take turns, and the fastest of each counts. On more ranks than cores, or beside other work, the clock says nothing; what a
rank computes, in time of its processor, and what it sends still hold.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from mpi4py import MPI

from solver import Device, Grid, NavierStokes, Periodic, Simulation
from solver.messages import Gathering, Messages
from solver.ranks import Ranks

STRONG = [(256, 256), (1024, 1024), (64, 64, 64), (128, 128, 128)]
WEAK = [(512, 512), (64, 64, 64)]
STEPS = {2: 4, 3: 2}


class Ledger:
    """Seconds inside of communication, of the clock and of the processor, messages, bytes and collective calls of this rank."""

    def __init__(self):
        self.reset()
        for kind, name in (
            (Messages, "start"),
            (Messages, "finish"),
            (Gathering, "exchange"),
            (Ranks, "add"),
        ):
            self.watch(kind, name, getattr(kind, name))

    def watch(self, kind, name, function):
        def watched(this, *arguments):
            begin, busy = time.perf_counter(), time.thread_time()
            result = function(this, *arguments)
            self.seconds += time.perf_counter() - begin
            self.busy += time.thread_time() - busy
            if name == "start":
                self.messages += len(this._requests) // 2
                self.bytes += this.outgoing.size * this.outgoing.dtype.itemsize
            elif name != "finish":
                self.collectives += this._comm is not None
            return result

        setattr(kind, name, watched)

    def reset(self):
        self.seconds, self.busy, self.messages, self.bytes, self.collectives = 0.0, 0.0, 0, 0, 0


def swirl(*x):
    k = 2 * np.pi
    u = np.sin(k * x[0]) * np.cos(k * x[1]) + 0.2 * np.cos(3 * k * x[1])
    v = -np.cos(k * x[0]) * np.sin(k * x[1])
    return (u, v) if len(x) == 2 else (u * np.cos(k * x[2]), v, 0.3 * np.cos(k * x[0]))


def measure(points):
    comm, axes = MPI.COMM_WORLD, len(points)
    grid = Grid(points, ((0.0, 1.0),) * axes, ((Periodic(), Periodic()),) * axes)
    simulation = Simulation(
        Device.open("Serial"), grid, NavierStokes(1e-3), swirl, comm=comm, force=True
    )
    dt, steps, ledger = 0.5 * simulation.limit, STEPS[axes], Ledger()
    simulation.take(dt, 2)
    ledger.reset()
    iterations = 0
    comm.Barrier()
    begin, busy = time.perf_counter(), time.thread_time()
    for _ in range(steps):
        simulation.take(dt, 1)
        iterations += sum(simulation.discretization.iterations)
    seconds = comm.allreduce(time.perf_counter() - begin, op=MPI.MAX)
    computing = comm.allreduce(time.thread_time() - busy - ledger.busy, op=MPI.SUM) / comm.size
    share = comm.allreduce(ledger.seconds, op=MPI.SUM) / comm.size / seconds
    most = [comm.allreduce(n, op=MPI.MAX) / steps for n in (ledger.messages, ledger.bytes)]
    if comm.rank == 0:
        row = {
            "points": points,
            "ranks": comm.size,
            "block": simulation.grid.points,
            "iterations_per_step": iterations / steps,
            "ms_per_step": 1e3 * seconds / steps,
            "computing_ms_per_step": 1e3 * computing / steps,
            "share_of_communication": share,
            "messages_per_step_and_rank": most[0],
            "bytes_per_step_and_rank": most[1],
            "collectives_per_step": ledger.collectives / steps,
        }
        print(json.dumps(row), flush=True)


def launched(ranks, points):
    command = [shutil.which("mpirun"), "-n", str(ranks), sys.executable, __file__, "--points"]
    environment = os.environ | {"MPIR_CVAR_POLLS_BEFORE_YIELD": "10"}
    text = subprocess.run(
        [*command, *map(str, points)],
        env=environment,
        check=True,
        text=True,
        stdout=subprocess.PIPE,
    ).stdout
    return json.loads(text.splitlines()[-1])


def weak(points, ranks):
    """Return a grid with as many cells for each rank."""
    grown = list(points)
    for axis in range(ranks.bit_length() - 1):
        grown[axis % len(grown)] *= 2
    return tuple(grown)


def fastest(runs):
    computing = min(run["computing_ms_per_step"] for run in runs)
    return min(runs, key=lambda run: run["ms_per_step"]) | {"computing_ms_per_step": computing}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--points", type=int, nargs="+", help="measure this grid on these ranks")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if options.points:
        measure(tuple(options.points))
        return
    cases = [("strong", points, n) for points in STRONG for n in options.ranks]
    cases += [("weak", weak(points, n), n) for points in WEAK for n in options.ranks]
    found = {case: [] for case in cases}
    for _ in range(options.repeats):
        for case in cases:
            found[case].append(launched(case[2], case[1]))
    rows = [{"scaling": case[0], **fastest(runs)} for case, runs in found.items()]
    for row in rows:
        print(json.dumps(row), flush=True)
    if options.output:
        report = {
            "benchmark": "navier_stokes_ranks",
            "cores": os.cpu_count(),
            "repeats": options.repeats,
            "rows": rows,
        }
        options.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

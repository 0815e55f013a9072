"""Weak and strong scaling over ranks of one node, the share of communication, overlap on and off, and a model of the cost.

python benchmarks/scaling.py [--ranks 1 2 4] [--repeats 5] [--output benchmarks/results/scaling.json]

Each rank has one thread (mode Serial). A round starts every number of ranks once under mpirun; the medians are over rounds.

The model of a pass of s steps on one rank, whose parameters are measured in the same rounds:
  work        seconds per point and step while as many ranks work, each on a grid of its own, times the points of the block and
              of the margins that several ranks compute: cores and their memory are shared, which is not the messages' doing
  messages    their number times the time of an empty message, plus their bytes over the bandwidth of long ones, both from
              ping-pong between two ranks
The paper columns have the work of one rank alone, and a network of 2 µs and 12.5 GB/s a rank.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from solver import AdvectionDiffusion, Burgers, Device, Grid, Simulation
from solver.decomposition import Decomposition, fewest_neighbours
from solver.halo import Halo

STRONG = {"2-D": (1024, 1024), "3-D": (128, 128, 128)}
WEAK = {"2-D": (512, 512), "3-D": (80, 80, 80)}  # of a rank
PASSES = 16
NETWORK = {"latency": 2e-6, "bandwidth": 12.5e9}
PAPER = (8, 64, 512)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", default="benchmarks/results/scaling.json")
    parser.add_argument("--worker", action="store_true")
    options = parser.parse_args()
    if options.worker:
        work()
        return
    rounds = [{ranks: launch(ranks) for ranks in options.ranks} for _ in range(options.repeats)]
    cores = len(os.sched_getaffinity(0))
    network = {
        name: statistics.median(each[2]["network"][name] for each in rounds) for name in NETWORK
    }
    rows = [
        summary(rounds, key, ranks, network)
        for key in rounds[0][options.ranks[0]]["cases"]
        for ranks in options.ranks
    ]
    result = {
        "command": " ".join(["python", *sys.argv]),
        "cores": cores,
        "repeats": options.repeats,
        "network": network,
        "paper_network": NETWORK,
        "rows": rows,
        "paper": [
            paper(rows, kind, axes, n)
            for kind in ("strong", "weak")
            for axes in STRONG
            for n in PAPER
        ],
    }
    Path(options.output).write_text(json.dumps(result, indent=2) + "\n")
    for row in rows:
        print(row)


def launch(ranks):
    folders = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = [
        shutil.which("mpirun", path=folders),
        "-n",
        ranks,
        sys.executable,
        __file__,
        "--worker",
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MPIR_CVAR_POLLS_BEFORE_YIELD": "10"}
    run = subprocess.run(
        list(map(str, command)), env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(run.stdout.splitlines()[-1])


def work():
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    device = Device.open("Serial", comm)
    cases = {}
    for kind, sizes in (("strong", STRONG), ("weak", WEAK)):
        for axes, points in sizes.items():
            if kind == "weak":
                along = fewest_neighbours([2**20] * len(points), comm.size)
                points = tuple(n * r for n, r in zip(points, along, strict=True))
            for overlap in (False, True) if comm.size > 1 else (False,):
                name = f"{kind} {axes}{' overlap' if overlap else ''}"
                cases[name] = measure(device, comm, points, overlap)
    network = ping_pong(comm)
    if comm.rank == 0:
        print(json.dumps({"cases": cases, "network": network}))


def measure(device, comm, points, overlap):
    """Return milliseconds a step, the share of the exchanges, and what a pass sends."""
    grid = Grid(points, ((0.0, 1.0),) * len(points))
    equation = (
        Burgers(0.05, "central") if len(points) == 2 else AdvectionDiffusion(0.01, (0.5, 0.3, 0.2))
    )
    simulation = Simulation(
        device, grid, equation, "sin", method="euler", comm=comm, overlap=overlap
    )
    scheme, dt = simulation.discretization, 0.5 * simulation.limit
    steps = scheme.steps_per_pass
    own = Grid(simulation.grid.points, grid.extent)
    apart = Simulation(device, own, equation, "sin", dt=dt, method="euler", force=True)
    alone = timed(comm, apart, dt, steps)
    timer = Timer(scheme.halos)
    seconds = timed(comm, simulation, dt, steps, timer)
    halo = scheme.halos[-1] if scheme.halos else None
    shares = comm.gather(timer.seconds / seconds)
    return {
        "points": points,
        "components": simulation.u.components,
        "along": simulation.grid.decomposition.ranks if halo else [1] * len(points),
        "steps_per_pass": steps,
        "milliseconds": 1e3 * seconds / (PASSES * steps),
        "point_seconds": alone / (PASSES * steps) / own.size,
        "communication": statistics.mean(shares) if shares else 0.0,
        "messages": halo.messages if halo else 0,
        "bytes": halo.sent_bytes if halo else 0,
    }


def timed(comm, simulation, dt, steps, timer=None):
    """Return the seconds of some passes, from the first rank's begin to the last one's end."""
    simulation.take(dt, steps)
    if timer is not None:
        timer.seconds = 0.0
    comm.Barrier()
    start = time.perf_counter()
    simulation.take(dt, PASSES * steps)
    comm.Barrier()
    return time.perf_counter() - start


class Timer:
    """The seconds that a rank spends in starting and finishing exchanges: packing, waiting and unpacking."""

    def __init__(self, halos):
        self.seconds = 0.0
        for halo in halos:
            for name in ("start", "finish"):
                setattr(halo, name, self.timed(getattr(Halo, name), halo))

    def timed(self, method, halo):
        def call(*arguments):
            begin = time.perf_counter()
            method(halo, *arguments)
            self.seconds += time.perf_counter() - begin

        return call


def ping_pong(comm):
    """Return the time of an empty message and the bandwidth of a long one between ranks 0 and 1."""
    if comm.size < 2:
        return NETWORK
    found = {}
    for count, turns in ((0, 2000), (1 << 18, 50)):
        buffer = np.zeros(count)
        comm.Barrier()
        start = time.perf_counter()
        for _ in range(turns):
            if comm.rank == 0:
                comm.Send(buffer, 1)
                comm.Recv(buffer, 1)
            elif comm.rank == 1:
                comm.Recv(buffer, 0)
                comm.Send(buffer, 0)
        found[count] = (time.perf_counter() - start) / turns / 2
    return {"latency": found[0], "bandwidth": 8 * (1 << 18) / found[1 << 18]}


def summary(rounds, key, ranks, network):
    """Return the medians of a case on some ranks, and what the model says of it."""
    overlapped = f"{key} overlap"
    each = [found[ranks]["cases"][key] for found in rounds]
    row = dict(each[0]) | {"case": key, "ranks": ranks}
    for name in ("milliseconds", "communication", "point_seconds"):
        row[name] = statistics.median(one[name] for one in each)
    if overlapped in rounds[0][ranks]["cases"]:
        row["overlap_milliseconds"] = statistics.median(
            found[ranks]["cases"][overlapped]["milliseconds"] for found in rounds
        )
    row["model_milliseconds"] = 1e3 * model(row, network)
    return row


def model(row, network):
    """Return the seconds of a step by the cost model."""
    steps = row["steps_per_pass"]
    block = [-(-n // r) for n, r in zip(row["points"], row["along"], strict=True)]
    computed = sum(
        np.prod([b + (2 * left if r > 1 else 0) for b, r in zip(block, row["along"], strict=True)])
        for left in range(steps)
    )
    sent = row["messages"] * network["latency"] + row["bytes"] / network["bandwidth"]
    return (row["point_seconds"] * float(computed) + sent) / steps


def paper(rows, kind, axes, ranks):
    """Return the model on a network and number of ranks that are not here: efficiency, bytes and messages of a rank."""
    alone = next(row for row in rows if row["case"] == f"{kind} {axes}" and row["ranks"] == 1)
    several = next(row for row in rows if row["case"] == f"{kind} {axes}" and row["ranks"] > 1)
    points = (WEAK if kind == "weak" else STRONG)[axes]
    along = fewest_neighbours([2**20] * len(points) if kind == "weak" else points, ranks)
    if kind == "weak":
        points = tuple(n * r for n, r in zip(points, along, strict=True))
    place = Decomposition(points, along, (True,) * len(points))
    cut = [n for n, is_cut in zip(place.smallest, place.is_cut, strict=True) if is_cut]
    steps = max(1, min(several["steps_per_pass"], min(cut) // 2))
    asked = {rank: pieces for rank, pieces in place.asked(steps).items() if rank}
    size = sum(int(np.prod(piece.shape)) for pieces in asked.values() for piece in pieces)
    row = {
        "points": points,
        "along": along,
        "steps_per_pass": steps,
        "messages": len(asked),
        "bytes": 8 * alone["components"] * size,
        "point_seconds": alone["point_seconds"],
    }
    seconds = model(row, NETWORK)
    ideal = 1e-3 * alone["milliseconds"] / (1 if kind == "weak" else ranks)
    return row | {"case": f"{kind} {axes}", "ranks": ranks, "efficiency": ideal / seconds}


if __name__ == "__main__":
    main()

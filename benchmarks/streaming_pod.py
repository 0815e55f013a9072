"""Streaming POD beside PyParSVD: time of a batch, resident memory, error of the modes; and HAPOD's tolerances beside pyMOR.

python benchmarks/streaming_pod.py --pyparsvd FOLDER --output benchmarks/results/streaming_pod.json
mpirun -n 2 python benchmarks/streaming_pod.py --pyparsvd FOLDER --output benchmarks/results/streaming_pod.json

FOLDER holds PyParSVD's package `pyparsvd` (github.com/Romit-Maulik/PyParSVD, commit 0235f23; not on PyPI). Snapshots have known
singular values and are made a batch at a time; all contestants get the same ones and truncate to as many modes. PyParSVD gets
columns in Fortran order, in which its QR is fastest, and its parallel class `low_rank=True`, without which it never truncates.
They take turns at each batch, which counts as long as the slowest rank takes, by the wall and, for busy machines, by the
processor. Memory is the peak of a process of its own, less
that of the same process without a contestant.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from mpi4py import MPI

from insitu.reduction import StreamingPOD

RANK = 10
DIRECTIONS = 48
HAPOD = {1e-1: (22, 0.0831), 1e-2: (39, 0.00773), 1e-3: (55, 0.000822)}  # pyMOR, REFERENCE


class Data:
    """Snapshots C M with the rows of M orthonormal over all ranks, so that their singular values are those of C."""

    def __init__(self, comm, features, snapshots):
        generator = torch.Generator().manual_seed(1 + comm.rank)
        self.modes = torch.randn(DIRECTIONS, features, generator=generator, dtype=torch.float64)
        gram = torch.from_numpy(comm.allreduce((self.modes @ self.modes.T).numpy()))
        for start in range(0, features, 1 << 16):
            part = self.modes[:, start : start + (1 << 16)]
            part[:] = torch.linalg.solve_triangular(torch.linalg.cholesky(gram), part, upper=False)
        generator = torch.Generator().manual_seed(0)
        left = torch.randn(snapshots, DIRECTIONS, generator=generator, dtype=torch.float64)
        sigma = 100 * (1 + torch.arange(DIRECTIONS, dtype=torch.float64)) ** -1.5
        self.coefficients = torch.linalg.qr(left).Q * sigma

    def batches(self, size):
        """Yield rows and columns of the same snapshots, in memory that is used again."""
        rows = torch.empty(size, self.modes.shape[1], dtype=torch.float64)
        for part in self.coefficients.split(size):
            torch.mm(part, self.modes, out=rows)
            yield rows, rows.numpy().T

    def error(self, comm, modes):
        """Return ‖A − P A‖ / ‖A‖ for orthonormal modes (rank, features)."""
        shared = torch.from_numpy(comm.allreduce((self.modes @ modes.T).numpy()))
        gram = torch.from_numpy(comm.allreduce((modes @ modes.T).numpy()))
        kept = torch.linalg.solve(gram, (self.coefficients @ shared).T).T
        squares = self.coefficients.square().sum()
        lost = squares - (kept * (self.coefficients @ shared)).sum()
        return float((lost / squares).clamp(min=0).sqrt())


class Ours:
    def __init__(self, comm):
        self.comm, self.pod = comm, StreamingPOD(rank=RANK)

    def add(self, rows, columns):
        self.pod.partial_fit(rows, comm=self.comm)

    def modes(self):
        return self.pod.modes_


class PyParSVD:
    def __init__(self, kind, low_rank):
        self.peer = kind(K=RANK, ff=1.0, low_rank=low_rank)
        self.is_first = True

    def add(self, rows, columns):
        (self.peer.initialize if self.is_first else self.peer.incorporate_data)(columns)
        self.is_first = False

    def modes(self):
        own = getattr(self.peer, "ulocal", None)
        own = self.peer._modes if own is None else own
        return torch.from_numpy(np.ascontiguousarray(own.T[:RANK]))


def contestants(comm, folder):
    """Return a function that makes each contestant, by name."""
    sys.path.insert(0, str(folder))
    from pyparsvd.parsvd_parallel import ParSVD_Parallel
    from pyparsvd.parsvd_serial import ParSVD_Serial

    peers = {
        "insitu": lambda: Ours(comm),
        "PyParSVD parallel, low rank": lambda: PyParSVD(ParSVD_Parallel, True),
    }
    if comm.size == 1:
        peers["PyParSVD serial"] = lambda: PyParSVD(ParSVD_Serial, False)
    return peers


def measure(comm, data, peers, batch):
    """Return seconds, by the wall and by the processor, of every batch of each contestant, in turns, and the contestants."""
    made = {name: make() for name, make in peers.items()}
    seconds = {name: [] for name in made}
    for rows, columns in data.batches(batch):
        for name, peer in made.items():
            comm.Barrier()
            start, begin = time.perf_counter(), time.process_time()
            peer.add(rows, columns)
            taken = (time.perf_counter() - start, time.process_time() - begin)
            seconds[name].append([comm.allreduce(each, MPI.MAX) for each in taken])
    return seconds, made


def peak(options, name):
    """Return the peak of resident memory of a process with this contestant alone, bytes."""
    alone = {key: value for key, value in os.environ.items() if not key.startswith(("PMI", "MPI_"))}
    command = [sys.executable, __file__, "--pyparsvd", str(options.pyparsvd), "--alone", name]
    command += ["--features", str(options.features), "--batch", str(options.batch)]
    out = subprocess.run(command, capture_output=True, text=True, check=True, env=alone).stdout
    return int(out.split()[-1])


def run_alone(options, comm):
    """Take two batches with one contestant, or none, and print the peak of resident memory."""
    data = Data(comm, options.features, 2 * options.batch)
    peers = contestants(comm, options.pyparsvd)
    chosen = {name: make for name, make in peers.items() if name == options.alone}
    measure(comm, data, chosen, options.batch)
    # Not ru_maxrss, which a process inherits from the one that started it.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(1024 * int(status["VmHWM"].split()[0]))


def n_wave(reynolds=1000.0):
    x, t = np.linspace(0, 1, 2048), np.linspace(0, 2, 200)[:, None]
    growth = np.exp(reynolds * x**2 / (4 * t + 4) - reynolds / 16)
    return torch.from_numpy((x / (t + 1)) / (1 + np.sqrt(t + 1) * growth))


def beside_hapod():
    """Return modes and mean-square errors at pyMOR's tolerances, in 4 slices as there; and the fewest there can be."""
    snapshots = n_wave()
    sigma = torch.linalg.svdvals(snapshots)
    tail = (sigma.square().flip(0).cumsum(0).flip(0) / len(snapshots)).sqrt()
    rows = []
    for tolerance, (modes, error) in HAPOD.items():
        row = {"tolerance": tolerance, "pymor": [modes, error]}
        row["fewest"] = int((tail > tolerance).sum())
        for omega in (0.75, 0.95):
            pod = StreamingPOD(absolute_tolerance=tolerance, omega=omega)
            for part in snapshots.split(50):
                pod.partial_fit(part)
            rest = snapshots - pod.inverse_transform(pod.transform(snapshots))
            row[f"omega {omega}"] = {
                "modes": len(pod.modes_),
                "kept_between": len(pod.singular_values_),
                "error": float(rest.norm()) / len(snapshots) ** 0.5,
                "bound": pod.error_bound_ / len(snapshots) ** 0.5,
            }
        rows.append(row)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pyparsvd", type=Path, required=True)
    parser.add_argument("--features", type=int, default=1_000_000, help="on all ranks")
    parser.add_argument("--snapshots", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    comm = MPI.COMM_WORLD
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if options.alone:
        run_alone(options, comm)
        return
    bare = peak(options, "nobody") if comm.size == 1 else None
    data = Data(comm, options.features // comm.size, options.snapshots)
    seconds, made = measure(comm, data, contestants(comm, options.pyparsvd), options.batch)
    best = float(torch.linalg.svdvals(data.coefficients)[RANK:].norm() / data.coefficients.norm())
    row = {"ranks": comm.size, "best_error": best, "contestants": {}}
    for name, peer in made.items():
        row["contestants"][name] = {
            "median_s": statistics.median(wall for wall, _ in seconds[name][1:]),
            "median_cpu_s": statistics.median(cpu for _, cpu in seconds[name][1:]),
            "first_s": seconds[name][0][0],
            "error": data.error(comm, peer.modes()),
        }
    ours = made["insitu"].pod
    row["contestants"]["insitu"]["bound"] = ours.error_bound_ / ours.norm_
    del data, made
    if bare is not None:
        for name, numbers in row["contestants"].items():
            numbers["peak_bytes"] = peak(options, name) - bare
    if comm.rank == 0:
        write(options, row)


def write(options, row):
    print(json.dumps(row, indent=1))
    if not options.output:
        return
    stored = json.loads(options.output.read_text()) if options.output.exists() else {}
    others = [other for other in stored.get("rows", []) if other["ranks"] != row["ranks"]]
    report = {
        "benchmark": "streaming_pod",
        "command": f"mpirun -n {row['ranks']} python {' '.join(sys.argv)}",
        "features": options.features,
        "snapshots": options.snapshots,
        "batch": options.batch,
        "modes": RANK,
        "threads_per_rank": torch.get_num_threads(),
        "cores": len(os.sched_getaffinity(0)),
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
        "mpi": MPI.Get_library_version().splitlines()[0].strip(),
        "rows": sorted([*others, row], key=lambda each: each["ranks"]),
        "hapod": beside_hapod(),
    }
    options.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

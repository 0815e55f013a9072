"""Weak scaling of the reduced basis, as many features on every rank: Gram matrix and tall-skinny QR, with peers on one rank.

for n in 1 2 4; do mpirun -n $n python benchmarks/distributed_pod.py --output benchmarks/results/distributed_pod.json; done

"the part that does not shrink" is the same fit on as few features as a snapshot matrix needs to be square: messages and the
decomposition of a small matrix on one rank. Peers get the block of one rank.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

import sklearn
import torch
from mpi4py import MPI
from sklearn.decomposition import PCA

from insitu.reduction import POD

RANK = 10


def snapshots(window, features, seed):
    """Return decaying waves with noise, (window, features), float64."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.linspace(0, 6, window, dtype=torch.float64)[:, None]
    x = torch.linspace(seed, seed + 1, features, dtype=torch.float64)
    waves = sum(0.6**k * torch.sin((k + 1) * (6 * x - time)) for k in range(2 * RANK))
    return waves + 1e-6 * torch.randn(window, features, generator=generator, dtype=torch.float64)


def contestants(comm, window, features):
    """Return what is timed, by name; all ranks call each of them."""
    here = snapshots(window, features, comm.rank)
    few = torch.rand(window, -(-window // comm.size), dtype=torch.float64)
    timed = {}
    for method, name in (("snapshots", "Gram matrix"), ("svd", "QR")):
        pod = POD(rank=RANK, method=method)
        timed[f"fit, {name}"] = lambda pod=pod: pod.fit(here, comm=comm)
        small = POD(rank=RANK, method=method)
        timed[f"the part that does not shrink, {name}"] = lambda pod=small: pod.fit(few, comm=comm)
    fitted = POD(rank=RANK, method="snapshots").fit(here, comm=comm)
    timed["transform"] = lambda: fitted.transform(here)
    if comm.size == 1:
        array = here.numpy()
        timed["torch.linalg.svd"] = lambda: torch.linalg.svd(here, full_matrices=False)
        for solver in ("full", "randomized"):
            peer = PCA(RANK, svd_solver=solver, random_state=0)
            timed[f"scikit-learn PCA, {solver}"] = lambda peer=peer: peer.fit(array)
    return timed


def measure(comm, timed, repeats):
    """Return the seconds of each run of each contestant, those of the slowest rank, interleaved."""
    seconds = {name: [] for name in timed}
    for repeat in range(repeats + 1):
        for name, function in timed.items():
            comm.Barrier()
            start = time.perf_counter()
            function()
            taken = comm.allreduce(time.perf_counter() - start, MPI.MAX)
            if repeat:
                seconds[name].append(taken)
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--window", type=int, default=200)
    parser.add_argument("--features", type=int, default=1 << 16, help="on each rank")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    comm = MPI.COMM_WORLD
    torch.set_num_threads(1)
    seconds = measure(comm, contestants(comm, options.window, options.features), options.repeats)
    if comm.rank:
        return
    row = {
        "ranks": comm.size,
        "median_s": {name: statistics.median(runs) for name, runs in seconds.items()},
        "least_s": {name: min(runs) for name, runs in seconds.items()},
    }
    print(json.dumps(row, indent=1))
    if options.output:
        stored = json.loads(options.output.read_text()) if options.output.exists() else {}
        others = [other for other in stored.get("rows", []) if other["ranks"] != comm.size]
        report = {
            "benchmark": "distributed_pod",
            "command": f"mpirun -n {comm.size} python {' '.join(sys.argv)}",
            "window": options.window,
            "features_per_rank": options.features,
            "threads_per_rank": 1,
            "cores": len(os.sched_getaffinity(0)),
            "versions": {"torch": torch.__version__, "scikit-learn": sklearn.__version__},
            "mpi": MPI.Get_library_version().splitlines()[0].strip(),
            "rows": sorted([*others, row], key=lambda each: each["ranks"]),
        }
        options.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

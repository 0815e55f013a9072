"""What an open audit costs: the same work with and without one, in turn.

    python benchmarks/audit.py [--repeats 9] [--output benchmarks/results/audit.json]

Three kinds of work, each as long as a fraction of a second: the main job's time loop with its snapshots, a network that writes a
forcing before each step, and the training of the main job's LSTM; this also with torch's copies in host memory counted, as on a
GPU. Of the overhead of each repeat, with over without less one, the median counts; the spread is its quartiles. Seconds are those
of the CPU, so that who else uses it changes little; Python's collector, which looks at all of torch now and then, is off.
"""

import argparse
import contextlib
import gc
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from insitu.audit import Audit
from insitu.closure import Closure
from insitu.models import LSTM
from insitu.sampler import Sampler
from insitu.training import Training
from solver import Burgers, Device, Grid, Simulation


def time_loop() -> Callable[[], None]:
    """Return 100 times the 2001 steps of jobs/burgers.yaml with a snapshot of each step."""
    device = Device.open("Serial")
    grid = Grid((256,), ((0.0, 6.283185307),))
    simulation = Simulation(device, grid, Burgers(0.01, "miniapp"), dt=1e-3)
    sampler = Sampler(device, 256, 2001)

    def work() -> None:
        for _ in range(100):
            for _ in sampler.follow(simulation, steps=2001):
                pass

    return work


def closure() -> Callable[[], None]:
    """Return 20 steps on 128 x 128 points, before each of which a network writes the forcing."""
    device = Device.open("Serial")
    grid = Grid((128, 128), ((0.0, 1.0),) * 2)
    simulation = Simulation(device, grid, Burgers(0.05, "central", forcing=0.0))
    network = torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"),
        torch.nn.Tanh(),
        torch.nn.Conv2d(4, 2, 3, padding=1, padding_mode="circular"),
    ).double()

    coupled = Closure(simulation, network)
    return lambda: coupled.advance(steps=20)


def training() -> Callable[[], None]:
    """Return two epochs of an LSTM on 300 snapshots of three coefficients."""
    series = torch.randn(300, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    series = series.cumsum(0)
    return lambda: LSTM(hidden=50, layers=2, history=5, training=Training(epochs=2)).fit(series)


def seconds(work: Callable[[], None], audit: Audit | None) -> float:
    """Return the CPU seconds the work takes, under an audit or not."""
    begin = time.process_time()
    with audit or contextlib.nullcontext():
        work()
    return time.process_time() - begin


def measure(work: Callable[[], None], repeats: int, copies: bool) -> dict[str, float]:
    """Return the overhead of each repeat in percent, its median and quartiles; who goes first takes turns."""
    work()
    free, audited = [], []
    for repeat in range(repeats):
        for is_audited in (False, True) if repeat % 2 else (True, False):
            taken = seconds(work, Audit(0, copies) if is_audited else None)
            (audited if is_audited else free).append(taken)
    percent = [100 * (b / a - 1) for a, b in zip(free, audited, strict=True)]
    low, middle, high = statistics.quantiles(percent, n=4)
    return {
        "milliseconds": round(1e3 * statistics.median(free), 2),
        "audited_milliseconds": round(1e3 * statistics.median(audited), 2),
        "overhead_percent": round(middle, 2),
        "quartiles_percent": [round(low, 2), round(high, 2)],
    }


def main() -> None:
    """Print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--output", type=Path, help="write the JSON there as well")
    options = parser.parse_args()
    torch.set_num_threads(1)
    gc.disable()
    works = {
        "the time loop": (time_loop, False),
        "a closure": (closure, False),
        "training": (training, False),
        "training with torch's copies counted": (training, True),
    }
    rows = [
        {"work": name, **measure(make(), options.repeats, copies)}
        for name, (make, copies) in works.items()
    ]
    result = {
        "benchmark": "audit",
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "repeats": options.repeats,
        "rows": rows,
    }
    text = json.dumps(result, indent=2)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()

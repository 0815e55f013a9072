"""What a file of the fields costs a run, and what is left of it when the run is killed.

python benchmarks/fields.py [--rounds 5] [--kills 20]

A 2-D simulation with snapshots every 10 steps: alone, with every snapshot written by the thread, and with the solver waiting for
each of them; seconds of the time loop, interleaved. Then processes that write without pause are killed (SIGKILL) at random
moments; each file must open, and its states must be those that were written. Results: benchmarks/results/fields.json
"""

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from insitu.config import Sampling, Time
from insitu.fields import FieldFile, Fields
from insitu.fields.writer import FieldWriter
from insitu.sampler import Sampler
from insitu.schedule import schedule_of
from solver import AdvectionDiffusion, Device, Grid, Simulation

POINTS, EVERY = (1024, 512), 10


class Waiting(FieldWriter):
    """A writer for which the solver waits."""

    def _hand_over(self):
        super()._hand_over()
        self._wait()


def begin(points, steps, every):
    device = Device.open("auto")
    grid = Grid(points, ((0.0, 2.0), (0.0, 1.0)))
    simulation = Simulation(device, grid, AdvectionDiffusion(0.001, (0.5, 0.25)), "gaussian")
    schedule = schedule_of(simulation, Time(steps=steps), Sampling(every=every))
    sampler = Sampler(device, simulation.u.interior.size, 4, every, "float64")
    return simulation, schedule, sampler


def loop(kind, format_, folder, steps=200):
    """Return the seconds of the time loop, and those in which the solver waited for the file."""
    simulation, schedule, sampler = begin(POINTS, steps, EVERY)
    writer = None
    if kind is not None:
        writer = kind(FieldFile(format_), simulation, sampler, schedule, Time(steps=steps), folder)
    simulation.advance(steps=EVERY)
    started = time.perf_counter()
    moments = sampler.follow(simulation, steps=steps - EVERY, most=EVERY)
    for _ in writer.beside(moments) if writer else moments:
        pass
    simulation.device.finish()
    seconds = time.perf_counter() - started
    if writer:
        writer.finish(simulation.step)
    return seconds


def write_for_ever(folder, format_):
    """Write states whose values are their step until someone ends the process."""
    simulation, schedule, sampler = begin((64, 32), 1 << 20, 1)
    settings = FieldFile(format_)
    writer = FieldWriter(settings, simulation, sampler, schedule, Time(steps=1 << 20), folder)

    def moments():
        for moment in sampler.follow(simulation, steps=1 << 20, most=1):
            sampler.newest(1).fill_(float(moment.step))
            yield moment

    for moment in writer.beside(moments()):
        if moment.step % 7 == 0:
            writer.flush()
        if moment.step == 21:
            print("writing", flush=True)


def kill(format_, folder, seed):
    """Return how many states a killed process left; raise where one is not what was written."""
    command = [sys.executable, __file__, "--write", str(folder), "--format", format_]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        time.sleep(random.Random(seed).uniform(0.0, 1.0))
        process.send_signal(signal.SIGKILL)
    with Fields(folder / f"fields.{format_}") as fields:
        assert len(fields) >= 21
        np.testing.assert_array_equal(fields.steps, np.arange(len(fields)))
        for n in (1, len(fields) // 2, len(fields) - 1):
            assert (fields.state("u", n) == n).all(), n
        return len(fields)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--format", default="vtkhdf")
    settings = parser.parse_args()
    if settings.write:
        write_for_ever(settings.write, settings.format)
        return
    result = {"points": POINTS, "every": EVERY, "states": 20, "load": [os.getloadavg()[0]]}
    with tempfile.TemporaryDirectory() as place:
        for format_ in ("vtkhdf", "zarr"):
            seconds = {"alone": [], "thread": [], "waiting": []}
            for _ in range(settings.rounds):
                for name, kind in (("alone", None), ("thread", FieldWriter), ("waiting", Waiting)):
                    seconds[name].append(loop(kind, format_, Path(place)))
            result[format_] = {
                "seconds": {name: statistics.median(each) for name, each in seconds.items()},
                "all": seconds,
            }
            print(format_, result[format_]["seconds"])
            result[format_]["left_by_killed"] = []
            for seed in range(settings.kills):
                result[format_]["left_by_killed"].append(kill(format_, Path(place), seed))
            print(format_, "killed:", result[format_]["left_by_killed"])
    result["load"].append(os.getloadavg()[0])
    target = Path(__file__).parent / "results" / "fields.json"
    target.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""The mini-app's 2001 steps at NX = 256 against its peers, and what sampling on the way costs.

    python benchmarks/burgers_miniapp.py [--repeats 60] [--output benchmarks/results/burgers_miniapp.json]

Every repeat runs every contender once, in turn; medians count. The C++ loop is compiled with -O3 -march=native, numba runs
once before it is timed, and kernels of this project are built before.
"""

import argparse
import ctypes
import importlib.util
import json
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from solver import Burgers, Device, Grid, Recorder, Simulation

NX, STEPS, NU, DT = 256, 2001, 0.01, 1e-3
GRID = Grid(points=(NX,), extent=((0.0, 2 * 3.1415926535),))
RD, RA = NU * DT / GRID.spacing[0] ** 2, DT / (2 * GRID.spacing[0])
PEERS = Path(__file__).parent / "peers"


def peer(name):
    spec = importlib.util.spec_from_file_location(name, PEERS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compiled(folder):
    library = folder / "peer.so"
    command = [
        "g++",
        "-O3",
        "-march=native",
        "-shared",
        "-fPIC",
        "-o",
        library,
        PEERS / "burgers_miniapp.cpp",
    ]
    subprocess.run(command, check=True)
    loaded = ctypes.CDLL(str(library))
    real = ctypes.c_double
    loaded.burgers_miniapp.argtypes = [ctypes.c_void_p, ctypes.c_int, real, real, ctypes.c_int]
    loaded.burgers_miniapp_256.argtypes = [ctypes.c_void_p, real, real, ctypes.c_int]
    return loaded


def start():
    return np.sin(GRID.coordinates()[0])


def simulation_of(device, scheme):
    return Simulation(device, GRID, Burgers(nu=NU, scheme=scheme), dt=DT)


def advance(device, scheme):
    simulation = simulation_of(device, scheme)
    return lambda: simulation.advance(steps=STEPS)


def sampled(device, scheme, every=10):
    simulation = simulation_of(device, scheme)
    recorder = Recorder(every, device.allocate((STEPS // every + 1, NX), "float64"))

    def run():
        recorder.rewind()
        simulation.advance(steps=STEPS, recorder=recorder)

    return run


def stepped(device, scheme):
    simulation = simulation_of(device, scheme)

    def run():
        for _ in simulation.steps(steps=STEPS):
            pass

    return run


def contenders(folder, modes):
    library, numba_peer, numpy_peer = compiled(folder), peer("burgers_numba"), peer("burgers_numpy")
    u = start()
    numba_peer.march(u, RD, RA, 1)
    numba_peer.march_fastmath(u, RD, RA, 1)
    runs = {
        "C++ loop": lambda: library.burgers_miniapp(u.ctypes.data, NX, RD, RA, STEPS),
        "C++ loop, NX known at compile time": lambda: library.burgers_miniapp_256(
            u.ctypes.data, RD, RA, STEPS
        ),
        "numba": lambda: numba_peer.march(u, RD, RA, STEPS),
        "numba, fastmath": lambda: numba_peer.march_fastmath(u, RD, RA, STEPS),
        "NumPy": lambda: numpy_peer.march(u, RD, RA, STEPS),
    }
    for mode in modes:
        device = Device.open(mode)
        runs |= {
            f"insitu {mode}, advance": advance(device, "miniapp"),
            f"insitu {mode}, one launch a step": stepped(device, "miniapp"),
            f"insitu {mode}, conservative scheme": advance(device, "conservative"),
        }
    return runs


def interleaved(runs, repeats):
    """Return the median seconds of each run; every repeat runs each twice, in turn, of which the second counts.

    The first one fills the caches that the contender before has taken. The first two repeats do not count.
    """
    times = {name: [] for name in runs}
    for repeat in range(repeats + 2):
        for name, run in runs.items():
            run()
            begin = time.perf_counter()
            run()
            if repeat >= 2:
                times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values) for name, values in times.items()}


def sampling_costs(modes, repeats):
    """Return what a snapshot every 10 steps adds, measured in pairs."""
    rows = []
    for mode in modes:
        device = Device.open(mode)
        for scheme in ("miniapp", "conservative"):
            pair = {"plain": advance(device, scheme), "sampled": sampled(device, scheme)}
            medians = interleaved(pair, repeats)
            added = medians["sampled"] / medians["plain"] - 1
            rows.append({"mode": mode, "scheme": scheme, "added": added})
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--modes", nargs="+", default=["Serial", "OpenMP"])
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        medians = interleaved(contenders(Path(folder), options.modes), options.repeats)
    reference = medians["C++ loop"]
    result = {
        "benchmark": "burgers_miniapp",
        "nx": NX,
        "steps": STEPS,
        "repeats": options.repeats,
        "cpu": cpu(),
        "rows": [
            {"contender": name, "milliseconds": 1e3 * median, "ratio": median / reference}
            for name, median in medians.items()
        ],
        "sampling": sampling_costs(options.modes, options.repeats),
    }
    for row in result["rows"]:
        print(f"{row['contender']:<44} {row['milliseconds']:9.4f} ms {row['ratio']:8.3f} x C++")
    for row in result["sampling"]:
        print(
            f"a snapshot every 10 steps, {row['mode']}, {row['scheme']}: {100 * row['added']:+.1f} %"
        )
    if options.output:
        options.output.write_text(json.dumps(result, indent=2) + "\n")


def cpu():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.partition(": ")[2] for line in lines if line.startswith("model name")),
        platform.machine(),
    )


if __name__ == "__main__":
    main()

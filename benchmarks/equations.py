"""Equations side by side with their peers: Burgers in 1-D and 2-D, 3-D advection-diffusion and an ensemble.

    python benchmarks/equations.py --check                # small sizes: everyone agrees with NumPy to round-off
    python benchmarks/equations.py --output benchmarks/results/equations.json
    python benchmarks/equations.py --cases burgers_2d --contenders cpp insitu --modes OpenMP --repeats 9

float64, explicit Euler, central differences, periodic. The C++ peers and the best of the Python ones (``peers/equations_*``)
run beside this project. Each case has a process of its own; every repeat runs each contender once, in turn, after a first run
of a tenth of the steps that does not count; medians count. A contender leaves when it has used BUDGET seconds. A peer that is
not installed or fails is listed with its error.
"""

import argparse
import importlib
import json
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent / "peers"))

from equations_cpp import FLAGS, PER_PASS, Peers  # noqa: E402
from equations_problems import PROBLEMS, reference  # noqa: E402

import solver  # noqa: E402

SETS = ("cpp", "insitu", "numba", "numpy", "jax", "torch", "devito", "cuda")
BUDGET = 15.0  # seconds of one contender in one case
ROOF = "copy, one read and one write of the state a step"
ONE_PASS, BLOCKED = "C++/OpenMP, one pass", "C++/OpenMP, blocked"
PACKAGES = ("numpy", "numba", "jax", "jaxlib", "torch", "devito", "cupy-cuda12x", "cupy-cuda13x")
SMALL = {
    "burgers_1d": {"points": (20008,)},
    "burgers_2d": {"points": (37, 64)},
    "advection_diffusion_3d": {"points": (21, 37, 64)},
    "ensemble_1d": {"members": 13, "points": (80,), "steps": 53},
}
SMALL_CUDA = {"ensemble_1d": {"members": 13, "points": (96,), "steps": 53}}  # whole warps


class Insitu:
    """This project; the state on the device, as it is."""

    def __init__(self, problem, mode, one_pass=False):
        self._device = solver.Device.open(mode)
        self._swap = problem.name == "burgers_2d"  # component k of Burgers moves along axis k
        initial = problem.initial()
        if self._swap:
            initial = initial[::-1]
        elif problem.name == "ensemble_1d":
            initial = initial[:, None]
        else:
            initial = initial[None]
        grid = solver.Grid(points=problem.points, extent=problem.extent)
        self._simulation = solver.Simulation(
            self._device, grid, equation_of(problem), initial=initial, dt=problem.dt, method="euler"
        )
        if one_pass:
            self._simulation.discretization.steps_per_pass = 1
        self._shape = problem.shape

    def run(self, steps):
        self._simulation.advance(steps=steps)
        self._device.finish()

    def result(self):
        state = self._simulation.u.to_host()
        return state[::-1] if self._swap else state.reshape(self._shape)


def equation_of(problem):
    if problem.name == "advection_diffusion_3d":
        return solver.AdvectionDiffusion(diffusivity=problem.diffusivity, velocity=problem.velocity)
    nu = problem.nu.tolist() if problem.name == "ensemble_1d" else problem.nu
    return solver.Burgers(nu=nu, scheme="central")


def insitu_runs(problem, mode):
    """Return name → contender for one mode."""
    runs = {f"insitu {mode}": Insitu(problem, mode)}
    if problem.name != "ensemble_1d":
        runs[f"insitu {mode}, one step a pass"] = Insitu(problem, mode, one_pass=True)
    return runs


def contenders(problem, sets, modes, folder):
    """Return name → contender and name → error of those that are not there."""
    found, missing = {}, {}
    peers = Peers(folder)
    makers = {"cpp": peers.contenders}
    for mode in modes:
        makers[f"insitu {mode}"] = lambda p, mode=mode: insitu_runs(p, mode)
    for name in sets:
        if name not in ("cpp", "insitu"):
            makers[name] = lambda p, name=name: importlib.import_module(
                f"equations_{name}"
            ).contenders(p)
    for name, make in makers.items():
        if name.split()[0] in sets:
            try:
                found |= make(problem)
            except Exception as error:  # noqa: BLE001 - a peer that is not there is a result
                missing[name] = f"{type(error).__name__}: {error}".splitlines()[0]
    return found, missing


class Roof:
    """The state copied once a step."""

    def __init__(self, peers, problem):
        self._copy = peers.copy(int(np.prod(problem.shape)))

    def run(self, steps):
        for _ in range(steps):
            self._copy()


def interleaved(found, steps, repeats):
    """Return name → seconds of each counted run, and name → error of those that failed."""
    times, spent, failed = {name: [] for name in found}, dict.fromkeys(found, 0.0), {}
    for repeat in range(repeats + 1):
        for name, contender in found.items():
            if name in failed or spent[name] > BUDGET:
                continue
            time.sleep(0.02)  # the last one's threads stop waiting for work
            begin = time.perf_counter()
            try:
                contender.run(steps if repeat else steps // 10)
            except Exception as error:  # noqa: BLE001
                failed[name] = f"{type(error).__name__}: {error}".splitlines()[0]
                continue
            taken = time.perf_counter() - begin
            if repeat:
                times[name].append(taken)
                spent[name] += taken
    return {name: values for name, values in times.items() if values}, failed


def measure(case, sets, modes, repeats, folder):
    problem = PROBLEMS[case]()
    found, missing = contenders(problem, sets, modes, folder)
    if case != "ensemble_1d":
        found = {ROOF: Roof(Peers(folder), problem), **found}
    times, failed = interleaved(found, problem.steps, repeats)
    medians = {name: statistics.median(values) for name, values in times.items()}
    result = {
        "case": case,
        "shape": list(problem.shape),
        "steps": problem.steps,
        "rows": [
            {
                "contender": name,
                "milliseconds": 1e3 * medians[name],
                "fastest": 1e3 * min(values),
                "repeats": len(values),
            }
            | {
                key: medians[name] / medians[peer]
                for key, peer in (("to_one_pass", ONE_PASS), ("to_blocked", BLOCKED))
                if peer in medians
            }
            for name, values in times.items()
        ],
        "missing": missing | failed,
    }
    if ROOF in medians:
        moved = 16 * np.prod(problem.shape) * problem.steps
        result["copy_gb_s"] = float(moved / medians[ROOF] / 1e9)
    return result


def check(case, sets, modes, folder):
    """Return name → largest difference from NumPy, for 1 and many steps."""
    sizes = (SMALL | SMALL_CUDA if "cuda" in sets else SMALL)[case]
    problem = PROBLEMS[case](**sizes)
    found, missing = contenders(problem, sets, modes, folder)
    found = {name: contender for name, contender in found.items() if hasattr(contender, "result")}
    steps = (1, problem.steps)
    errors = {name: [] for name in found}
    for taken in (1, 1 + problem.steps):
        expected = reference(problem, taken)
        for name, contender in found.items():
            contender.run(steps[len(errors[name])])
            errors[name].append(float(np.abs(np.asarray(contender.result()) - expected).max()))
    return {name: max(values) for name, values in errors.items()}, missing


def alone(function, *arguments):
    """Return what the function returns in a fresh process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def versions():
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def cpu():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--contenders", nargs="+", choices=SETS, default=list(SETS[:-1]))
    parser.add_argument("--modes", nargs="+", default=["Serial", "OpenMP"])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        chosen = (options.contenders, options.modes)
        if options.check:
            raise SystemExit(any([not checked(case, *chosen, folder) for case in options.cases]))
        cases = []
        for case in options.cases:
            cases.append(alone(measure, case, *chosen, options.repeats, folder))
            show(cases[-1])
    result = {
        "benchmark": "equations",
        "cpu": cpu(),
        "threads": int(os.environ.get("OMP_NUM_THREADS", len(os.sched_getaffinity(0)))),
        "repeats": options.repeats,
        "flags": " ".join(FLAGS),
        "steps_per_pass": PER_PASS,
        "versions": versions(),
        "cases": cases,
    }
    if options.output:
        options.output.write_text(json.dumps(result, indent=2) + "\n")


def checked(case, sets, modes, folder):
    errors, missing = alone(check, case, sets, modes, folder)
    for name, error in errors.items():
        print(f"{case:<24}{name:<40}{error:9.1e}{'' if error < 1e-12 else '  WRONG'}")
    for name, error in missing.items():
        print(f"{case:<24}{name:<40}not there: {error}")
    return all(error < 1e-12 for error in errors.values())


def show(result):
    print(f"{result['case']} {tuple(result['shape'])}, {result['steps']} steps")
    for row in result["rows"]:
        ratios = "".join(
            f"{row[key]:9.2f} x {name}"
            for key, name in (("to_one_pass", "one pass"), ("to_blocked", "blocked"))
            if key in row
        )
        print(f"  {row['contender']:<50}{row['milliseconds']:10.2f} ms{ratios}")
    for name, error in result["missing"].items():
        print(f"  {name:<50} not there: {error}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

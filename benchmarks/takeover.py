"""Takeovers of four equations: final errors against the solver alone, flags, and what they cost.

for part in advection-diffusion Burgers Kuramoto-Sivashinsky Navier-Stokes random fast; do
    python benchmarks/takeover.py $part --output benchmarks/results/takeover.json; done

For each equation a surrogate is trained on runs of its own, then 50 other seeds are run by the solver alone and with takeovers,
one after the other; 10 of them begin far outside the training set. "random": the same surrogates with random weights, on runs
long enough to be timed. "fast": an ensemble whose surrogate knows nothing at its beginning and is trained by what the solver
does in the run itself, everything included in the time. Seconds are of one core's CPU, runs in turn: others share the machine.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from insitu import as_torch
from insitu.surrogates import PatchCore, ReducedCore, Surrogate
from insitu.takeover import Control, LeastSquares, Takeover
from solver import (
    AdvectionDiffusion,
    Burgers,
    Device,
    Grid,
    KuramotoSivashinsky,
    NavierStokes,
    Recorder,
    Simulation,
)

TAU = 2 * np.pi
SEEDS, FAR, TRAINING = 40, 10, 1000


@dataclass(frozen=True)
class Study:
    """An equation with its family of initial values, and the surrogate that learns it."""

    grid: Grid
    equation: object
    initial: Callable[[np.random.Generator, bool], object]
    dt: float
    lead: int
    until: float
    rank: int
    degree: int = 2
    reach: int = 0  # of patches; 0: modes of the whole state
    runs: int = 20  # of the training
    spin_up: float = 0.0
    control: Control = Control()

    def start(self, device, seed, is_far=False):
        """Return a simulation at time 0, after its spin-up."""
        initial = self.initial(np.random.default_rng(seed), is_far)
        simulation = Simulation(device, self.grid, self.equation, initial, dt=self.dt)
        if is_far or not self.spin_up:
            return simulation
        simulation.advance(until=self.spin_up)
        return Simulation(device, self.grid, self.equation, simulation.u.to_host(), dt=self.dt)

    def surrogate(self):
        components = self.equation.components(self.grid)
        if self.reach:
            core = PatchCore(components, len(self.grid.points), self.reach, self.rank, self.degree)
        else:
            core = ReducedCore(components * self.grid.size, self.rank, self.degree)
        return Surrogate(core, components, interval=self.lead * self.dt).double()


def waves(count, size, mean=0.0):
    """Return a family of sums of waves over the unit circle; far ones are twice as many, and larger."""

    def initial(random, is_far):
        number = 2 * count if is_far else count
        sizes = (2.0 if is_far else 1.0) * size * random.standard_normal((number, 2))

        def values(x):
            angle = TAU * x / (x.flat[-1] + x.flat[1] - 2 * x.flat[0]) if x.size > 1 else x
            return mean + sum(
                a * np.cos((k + 1) * angle) + b * np.sin((k + 1) * angle)
                for k, (a, b) in enumerate(sizes)
            )

        return values

    return initial


FLOW = ((1, 0), (0, 1), (1, 1))  # wave numbers of the stream functions


def flows(size):
    """Return a family of flows on the torus, of three waves with random amplitudes; far ones have random phases too."""

    def initial(random, is_far):
        amplitudes = size * random.uniform(-1, 1, len(FLOW)) * (1.5 if is_far else 1.0)
        phases = TAU * random.random(len(FLOW)) * is_far
        terms = list(zip(FLOW, amplitudes, phases, strict=True))

        def velocity(x, y):
            u = sum(-a * m * np.sin(k * x + m * y + p) for (k, m), a, p in terms)
            v = sum(a * k * np.sin(k * x + m * y + p) for (k, m), a, p in terms)
            return u, v

        return velocity

    return initial


STUDIES = {
    "advection-diffusion": Study(
        grid=Grid((96,), ((0.0, 1.0),)),
        equation=AdvectionDiffusion(0.02, (0.5,)),
        initial=waves(3, 0.3, 1.0),
        dt=1e-3,
        lead=16,
        until=1.0,
        rank=8,
        degree=1,
        reach=10,
        runs=6,
    ),
    "Burgers": Study(
        grid=Grid((128,), ((0.0, TAU),)),
        equation=Burgers(0.1),
        initial=waves(3, 0.3, 0.5),
        dt=2e-3,
        lead=25,
        until=2.0,
        rank=8,
        degree=3,
        reach=8,
        runs=10,
    ),
    "Kuramoto-Sivashinsky": Study(
        grid=Grid((64,), ((0.0, 22.0),)),
        equation=KuramotoSivashinsky(),
        initial=waves(3, 0.5),
        dt=1.25e-3,
        lead=80,
        until=6.0,
        rank=9,
        degree=3,
        reach=8,
        runs=10,
        spin_up=40.0,
        control=Control(growth=0.1),
    ),
    "Navier-Stokes": Study(
        grid=Grid((32, 32), ((0.0, TAU), (0.0, TAU))),
        equation=NavierStokes(0.05),
        initial=flows(0.5),
        dt=0.02,
        lead=8,
        until=2.0,
        rank=20,
        degree=2,
        runs=70,
    ),
}


def trained(device, study):
    """Return a surrogate trained on runs of its own, its error, and what that took."""
    began = time.process_time()
    pairs = []
    for seed in range(TRAINING, TRAINING + study.runs):
        simulation = study.start(device, seed)
        rows = 1 + round(study.until / study.dt) // study.lead
        memory = device.allocate((rows, simulation.u.interior.size), "float64")
        first = as_torch(simulation.u).clone()[None]
        recorder = Recorder(study.lead, memory)
        simulation.advance(until=study.until, recorder=recorder)
        states = as_torch(memory)[: recorder.count].view(-1, *first.shape[1:])
        states = torch.cat([first, states])
        pairs.append((states[:-1].clone(), states[1:].clone()))
    made = time.process_time()
    inputs, targets = (torch.cat(each) for each in zip(*pairs, strict=True))
    surrogate = study.surrogate()
    error = LeastSquares.fit(surrogate, inputs, targets)
    done = time.process_time()
    return surrogate, {
        "pairs": len(inputs),
        "error_of_an_interval": error,
        "cpu_seconds_of_the_solver": made - began,
        "cpu_seconds_of_the_fit": done - made,
    }


def compare(device, study, seed, is_far, surrogate, control):
    """Run the solver alone and with takeovers, in turn."""
    alone, simulation = (study.start(device, seed, is_far) for _ in range(2))
    began = time.process_time()
    alone.advance(until=study.until)
    device.finish()
    between = time.process_time()
    takeover = Takeover(simulation, surrogate, control)
    takeover.advance(until=study.until)
    device.finish()
    done = time.process_time()
    truth = alone.u.to_host()
    log = takeover.decisions
    error = float(np.linalg.norm(simulation.u.to_host() - truth) / np.linalg.norm(truth))
    found = log.as_dict()
    found.pop("log")
    return {
        "seed": seed,
        "far": is_far,
        "error": error,
        "within": error <= control.tolerance,
        "flagged": bool(log.violated) or log.count("underestimated") > 0,
        "part_taken_over": log.steps("accepted") / simulation.step,
        "rejection_rate": log.rejection_rate,
        "cpu_seconds_alone": between - began,
        "cpu_seconds_with": done - between,
        **found,
    }


def study_of(device, name):
    """Return what happened on all seeds of an equation."""
    study = STUDIES[name]
    surrogate, training = trained(device, study)
    seeds = [(seed, False) for seed in range(SEEDS)]
    seeds += [(seed, True) for seed in range(SEEDS, SEEDS + FAR)]
    rows = [compare(device, study, *seed, surrogate, study.control) for seed in seeds]
    return {
        "points": study.grid.points,
        "steps": round(study.until / study.dt),
        "steps_of_an_interval": study.lead,
        "tolerance": study.control.tolerance,
        "training": training,
        **summary(rows),
        "far": summary([row for row in rows if row["far"]]),
        "rows": rows,
    }


def summary(rows):
    used = [row for row in rows if row["part_taken_over"] > 0]
    return {
        "seeds": len(rows),
        "within": sum(row["within"] for row in rows),
        "violations_not_flagged": sum(not row["within"] and not row["flagged"] for row in rows),
        "flagged": sum(row["flagged"] for row in rows),
        "estimates_below_the_error": sum(row["error"] > row["estimated_error"] for row in rows),
        "part_taken_over": statistics.mean(row["part_taken_over"] for row in rows),
        "error_median": statistics.median(row["error"] for row in rows),
        "error_largest": max(row["error"] for row in rows),
        "estimate_over_error_median": statistics.median(
            row["estimated_error"] / row["error"] for row in used
        )
        if used
        else None,
        "cpu_seconds_alone": statistics.median(row["cpu_seconds_alone"] for row in rows),
        "cpu_seconds_with": statistics.median(row["cpu_seconds_with"] for row in rows),
    }


def random_weights(surrogate, seed):
    """Fill everything that training would have found."""
    generator = torch.Generator().manual_seed(seed)
    for name, values in surrogate.core.state_dict().items():
        size = values[0].numel() ** -0.5 if "coefficients" not in name else 0.1
        values.copy_(size * torch.randn(values.shape, generator=generator, dtype=values.dtype))
    return surrogate


LONG = {  # times as long, and members: a proposal costs as much as so many intervals of the solver, whatever the members
    "advection-diffusion": (160, 256),
    "Burgers": (64, 16),
    "Kuramoto-Sivashinsky": (12, 16),
    "Navier-Stokes": (24, None),
}


def study_random(device, repeats=3):
    """Return how often random weights are rejected and what that costs; rounds of the solver alone and with them in turn."""
    found = {}
    for name, (times, members) in LONG.items():
        study, rows = STUDIES[name], []
        values = study.start(device, 0).u.to_host()
        for seed in range(repeats):
            surrogate = random_weights(study.surrogate(), seed)
            runs = [
                Simulation(device, study.grid, study.equation, values, dt=study.dt, members=members)
                for _ in range(2)
            ]
            began = time.process_time()
            runs[0].advance(until=times * study.until)
            between = time.process_time()
            takeover = Takeover(runs[1], surrogate, study.control)
            takeover.advance(until=times * study.until)
            done = time.process_time()
            log = takeover.decisions
            rows.append(
                {
                    "proposals": len(log.entries) - log.count("solved"),
                    "rejected": log.count("rejected"),
                    "same_bits": bool(np.array_equal(*(run.u.to_host() for run in runs))),
                    "cpu_seconds_alone": between - began,
                    "cpu_seconds_with": done - between,
                }
            )
        ratios = [row["cpu_seconds_with"] / row["cpu_seconds_alone"] for row in rows]
        found[name] = {
            "steps": round(times * study.until / study.dt),
            "members": members,
            "rejected": sum(row["rejected"] for row in rows)
            / sum(row["proposals"] for row in rows),
            "cost_median": statistics.median(ratios),
            "rows": rows,
        }
        print(name, found[name]["rejected"], found[name]["cost_median"], flush=True)
    return found


def fast_start(device, members):
    """Return an ensemble on the attractor, twice: spun up on 64 points, by Fourier's interpolation on 256."""
    rng = np.random.default_rng(5)
    coarse = Grid((64,), ((0.0, 22.0),))
    x = TAU / 22 * coarse.axes()[0]
    values = sum(
        a * np.cos(k * x) + b * np.sin(k * x)
        for k in range(1, 4)
        for a, b in [rng.standard_normal((2, members, 1, 1))]
    )
    simulation = Simulation(
        device, coarse, KuramotoSivashinsky(), values, dt=1.25e-3, members=members
    )
    simulation.advance(until=40.0)
    waves = np.fft.rfft(simulation.u.to_host())
    waves[..., -1] /= 2
    values = 4 * np.fft.irfft(np.pad(waves, ((0, 0), (0, 0), (0, 96))), 256)
    grid = Grid((256,), ((0.0, 22.0),))
    return [
        Simulation(device, grid, KuramotoSivashinsky(), values, dt=5e-6, members=members)
        for _ in range(2)
    ]


def study_fast(device, members=8, until=6.0, repeats=2):
    """Return what a run with a surrogate trained within it takes, beside the solver alone.

    Defects of smooth fields with this much stiffness are several times the errors: half of them is still above, and where it
    were not, the intervals that the solver verifies would say so.
    """
    rows = []
    for _ in range(repeats):
        alone, simulation = fast_start(device, members)
        surrogate = Surrogate(PatchCore(1, 1, 16, 9, 3), 1, interval=10000 * 5e-6).double()
        control = Control(growth=0.1, relaxation=1 / 16, ahead=24, safety=0.5)
        began = time.process_time()
        alone.advance(until=until)
        between = time.process_time()
        trainer = LeastSquares(surrogate, first=12 * members, capacity=24 * members)
        takeover = Takeover(simulation, surrogate, control, trainer)
        takeover.advance(until=until)
        done = time.process_time()
        log, truth = takeover.decisions, alone.u.to_host()
        error = np.linalg.norm(simulation.u.to_host() - truth) / np.linalg.norm(truth)
        found = log.as_dict()
        found.pop("log")
        rows.append(
            {
                "largest_growth_rate": max(entry.rate for entry in log.entries),
                "error": float(error),
                "part_taken_over": log.steps("accepted") / simulation.step,
                "error_of_an_interval": trainer.error,
                "pairs": trainer.pairs,
                "cpu_seconds_alone": between - began,
                "cpu_seconds_with": done - between,
                **found,
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    ratios = [row["cpu_seconds_alone"] / row["cpu_seconds_with"] for row in rows]
    return {"members": members, "speedup_median": statistics.median(ratios), "rows": rows}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=[*STUDIES, "random", "fast"])
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = Device.open("Serial")
    if options.part == "random":
        found = study_random(device)
    elif options.part == "fast":
        found = study_fast(device)
    else:
        found = study_of(device, options.part)
    print(options.part, json.dumps({k: v for k, v in found.items() if k != "rows"}), flush=True)
    if options.output:
        stored = json.loads(options.output.read_text()) if options.output.exists() else {}
        stored |= {
            "benchmark": "takeover",
            "machine": platform.processor() or platform.machine(),
            "torch": torch.__version__,
            "threads": 1,
            options.part: found,
        }
        options.output.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()

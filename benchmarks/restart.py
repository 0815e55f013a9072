"""Kill a run at random moments, resume it, and compare what it leaves with a run that nothing disturbed.

For each case one run to the end; then one run after the other in which ``kill -9`` ends a random rank at a random moment between
the beginning of its time loop and its end, and the same command again, until it has finished; at least one kill hits each case.
Report, series, bases, weights and the fields of the last checkpoint must be the same bits, but for times of day and seconds.

    python benchmarks/restart.py --kills 20 --ranks 2 --output benchmarks/results/restart.json
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import yaml
from helpers.runs import differences

TWO_PI = 6.283185307179586
LEARNING = {
    "model": {
        "class_path": "insitu.models.LSTM",
        "init_args": {"hidden": 8, "layers": 1, "training": {"epochs": 60}},
    },
    "baselines": ["insitu.models.DMD"],
    "splits": ["causal"],
}
STREAM = {
    "class_path": "insitu.reduction.StreamingPOD",
    "init_args": {"rank": 3, "oversampling": 4},
}
CORE = {
    "class_path": "insitu.surrogates.ResidualCNN",
    "init_args": {"axes": 1, "inputs": 1, "outputs": 1, "width": 4},
}
SURROGATE = {
    "class_path": "insitu.surrogates.Surrogate",
    "init_args": {"core": CORE, "components": 1},
}
PATCHES = {
    "class_path": "insitu.surrogates.PatchCore",
    "init_args": {"components": 1, "axes": 1, "reach": 4, "rank": 4, "degree": 1},
}
BASE = {
    "device": "Serial",
    "grid": {"points": [256], "extent": [[0, TWO_PI]]},
    "learning": LEARNING,
    "checkpoint": {"steps": 25, "keep_finished": True},
}
BURGERS = {"class_path": "Burgers", "init_args": {"nu": 0.05}}
FORCED = {
    "class_path": "Burgers",
    "init_args": {"nu": 0.05, "scheme": "central", "forcing": 0.0},
}
CASES = {
    "online training": BASE
    | {
        "equation": BURGERS,
        "time": {"until": 1.0, "dt": 0.002},
        "sampling": {"every": 5},
        "online": {"model": SURROGATE, "warm_up": 8, "capacity": 64, "steps": 4},
    },
    "online training, StreamingPOD": BASE
    | {
        "equation": BURGERS,
        "time": {"until": 1.0, "dt": 0.002},
        "sampling": {"every": 2, "window": 100},
        "learning": LEARNING | {"reduction": STREAM},
        "online": {"model": SURROGATE, "warm_up": 8, "capacity": 64, "every": 3, "steps": 6},
    },
    "closure": BASE
    | {
        "equation": FORCED,
        "time": {"steps": 400, "dt": 0.002},
        "sampling": {"every": 3},
        "closure": {
            "model": {
                "class_path": "insitu.closure.Correction",
                "init_args": {"core": CORE, "components": 1},
            },
            "every": 2,
        },
    },
    "Navier-Stokes": BASE
    | {
        "grid": {"points": [64, 64], "extent": [[0, 1], [0, 1]]},
        "initial": {"class_path": "insitu.flows.DoubleShearLayer"},
        "equation": {"class_path": "NavierStokes", "init_args": {"nu": 0.001}},
        "time": {"until": 0.5, "cfl": 0.8},
        "sampling": {"interval": 0.01},
    },
    "takeover": BASE
    | {
        "grid": {"points": [64], "extent": [[0, TWO_PI]]},
        "initial": "gaussian",
        "equation": {
            "class_path": "AdvectionDiffusion",
            "init_args": {"diffusivity": 0.02, "velocity": [1.0]},
        },
        "time": {"steps": 1000000, "dt": 0.0005},
        "sampling": {"every": 10000},
        "takeover": {"steps": 16, "core": PATCHES, "first": 8, "pairs": 16},
        "checkpoint": {"steps": 50000, "keep_finished": True},
    },
    "a fit and a surrogate": BASE
    | {
        "equation": {"class_path": "Burgers", "init_args": {"nu": [0.02, 0.05, 0.08, 0.1]}},
        "time": {"steps": 400, "dt": 0.002},
        "sampling": {"every": 4},
        "learning": LEARNING
        | {
            "model": {
                "class_path": "insitu.models.LSTM",
                "init_args": {"hidden": 16, "training": {"epochs": 150, "patience": 150}},
            },
            "surrogates": {
                "cores": [
                    {"class_path": "insitu.surrogates.ResidualCNN", "init_args": {"width": 8}}
                ],
                "training": {"epochs": 20, "patience": 20},
            },
        },
        "checkpoint": {"steps": 100, "seconds": 0.5, "keep_finished": True},
    },
}

ALONE = ("takeover",)  # what it learns during a run is learnt on one rank


def start(case, folder, ranks):
    command = [sys.executable, "-m", "insitu", "run", str(case), "--output", str(folder)]
    if ranks > 1:
        command = ["mpirun", "-n", str(ranks), *command]
    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ranks_of(process, folder):
    """Return the ids of the ranks: the processes of the session that have the run directory in their command."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if str(folder).encode() in words and b"-m" in words and b"mpirun" not in words:
                found.append(int(entry.name))
    return sorted(each for each in found if each != process.pid or len(found) == 1)


def status(folder):
    try:
        return json.loads((folder / "state.json").read_text())
    except (OSError, ValueError):
        return {}


def wait_for_loop(process, folder, before):
    """Wait until this process, not the one before, has said where it stands; False where it ended."""
    file = folder / "state.json"
    while process.poll() is None:
        if file.exists() and file.stat().st_mtime_ns != before and status(folder):
            return True
        time.sleep(0.005)
    return False


def run_whole(case, folder, ranks):
    """Return the seconds from the beginning of the time loop to the end."""
    process = start(case, folder, ranks)
    wait_for_loop(process, folder, None)
    begin = time.monotonic()
    _, told = process.communicate()
    if process.returncode:
        raise SystemExit(f"the run without a kill failed: {told}")
    return time.monotonic() - begin


def run_killed(case, folder, ranks, seconds, chance, most):
    """Run to the end with so many kills on the way or fewer; return a record of each."""
    kills = []
    while status(folder).get("status") != "finished":
        file = folder / "state.json"
        process = start(case, folder, ranks)
        before = file.stat().st_mtime_ns if file.exists() else None
        if wait_for_loop(process, folder, before) and len(kills) < most:
            time.sleep(chance.uniform(0.0, 0.8 * seconds))
            ids = ranks_of(process, folder)
            if process.poll() is None and ids:
                victim = chance.randrange(len(ids))
                os.kill(ids[victim], signal.SIGKILL)
                where = status(folder)
                unfinished = any((folder / "checkpoints").glob(".step-*.tmp"))
                kill = {key: where.get(key) for key in ("stage", "checkpoint")}
                kill |= {"rank": victim, "while_writing": unfinished}
                kills += [kill] if where.get("status") != "finished" else []
        _, told = process.communicate()
        if process.returncode == 0 and status(folder).get("status") != "finished":
            raise SystemExit(f"a run ended without being finished: {told}")
        if process.returncode == 2:
            raise SystemExit(f"a run was not resumed: {told}")
    return kills


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", nargs="*", default=list(CASES))
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    chance = random.Random(given.seed)
    base = Path(tempfile.mkdtemp(prefix="restart-"))
    wholes, trials, killed, hit = {}, [], 0, set()
    most = max(1, given.kills // len(given.cases))
    while killed < given.kills or len(hit) < len(given.cases):
        name = given.cases[len(trials) % len(given.cases)]
        ranks = 1 if name in ALONE else given.ranks
        case = base / f"{name.replace(' ', '_').replace(',', '')}.yaml"
        if name not in wholes:
            case.write_text(yaml.safe_dump(CASES[name]))
            wholes[name] = run_whole(case, case.with_suffix(""), ranks)
        folder = base / f"{case.stem}-{len(trials)}"
        kills = run_killed(case, folder, ranks, wholes[name], chance, most)
        found = differences(case.with_suffix(""), folder)
        killed += len(kills)
        hit |= {name} if kills else set()
        trials.append({"case": name, "ranks": ranks, "kills": kills, "differences": found})
        print(f"{killed:3d} kills, {name}: {kills} -> {found[:5] or 'the same bits'}", flush=True)
        shutil.rmtree(folder)
    same = sum(len(trial["kills"]) for trial in trials if not trial["differences"])
    print(f"{same} of {killed} kills resumed to the same bits, on {given.ranks} ranks")
    if given.output:
        record = {"ranks": given.ranks, "kills": killed, "same": same, "trials": trials}
        given.output.write_text(json.dumps(record, indent=1) + "\n")
    shutil.rmtree(base)
    return 0 if same == killed else 1


if __name__ == "__main__":
    raise SystemExit(main())

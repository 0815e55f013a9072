"""Runs that outlive their jobs' walltime under a real scheduler, against one without interruption.

python benchmarks/batch_jobs.py --output benchmarks/results/batch_jobs.json

needs a Slurm that takes jobs here by sbatch and, with its commands for Torque, by qsub (Debian: slurm-wlm, slurm-wlm-torque),
two nodes, emulated ones too. It takes a quarter of an hour.

Each trial submits ``jobs/burgers_online.yaml``, longer, on two nodes with a walltime of minutes by ``insitu submit`` and waits;
they share the cores:

- "PBS, stopped in time": the script tells the run when it has to stop, which it does with a checkpoint;
- "PBS, killed": the run believes that it has hours, so that SIGTERM at the walltime ends it;
- "Slurm, signalled": SIGUSR1 some seconds before the end;
- "Slurm, signalled late or killed": the signal is asked for one second before the end, and may come a minute early.

``--trials`` takes some of them, whose rows replace those in the file. ``differences`` counts what in report, series, bases,
weights and the final fields has other bits than without interruption.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from helpers.queue import await_end, run_uninterrupted, submit, write_case  # noqa: E402

KILLED = ["--", "--time-limit=9:00:00"]
TRIALS = {
    "PBS, stopped in time": ["--site=pbs", "--margin=20"],
    "PBS, killed": ["--site=pbs", "--margin=5", *KILLED],
    "Slurm, signalled": ["--site=slurm", "--margin=20"],
    "Slurm, signalled late or killed": ["--site=slurm", "--margin=1", *KILLED],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("out/batch_jobs"))
    parser.add_argument(
        "--until", type=float, default=2.0, help="simulated time, for two minutes' work"
    )
    parser.add_argument("--minutes", type=int, default=2, help="walltime of each job")
    parser.add_argument("--trials", nargs="*", default=list(TRIALS), choices=list(TRIALS))
    given = parser.parse_args()
    case = write_case(given.folder, points=512, steps=4, until=given.until)
    reference = given.folder / "uninterrupted"
    seconds = run_uninterrupted(case, reference)
    runs = {name: given.folder / name.replace(", ", "-").replace(" ", "-") for name in given.trials}
    for name, run in runs.items():
        submit(case, run, f"--time=0:{given.minutes:02d}:00", *TRIALS[name])
    rows = [{"trial": name, **await_end(run, reference)} for name, run in runs.items()]
    version = subprocess.run(["sbatch", "--version"], capture_output=True, text=True, check=True)
    earlier = json.loads(given.output.read_text())["rows"] if given.output.exists() else []
    results = {
        "command": f"python {' '.join(sys.argv)}",
        "case": "jobs/burgers_online.yaml on 512 points, 4 training steps a sample, 2 ranks on 2 emulated nodes",
        "scheduler": version.stdout.strip(),
        "walltime": 60 * given.minutes,
        "conditions": f"{os.cpu_count()} cores, load average {os.getloadavg()[2]:.0f}",
        "uninterrupted_seconds": round(seconds, 1),
        "rows": [*(row for row in earlier if row["trial"] not in given.trials), *rows],
    }
    given.output.write_text(json.dumps(results, indent=2) + "\n")
    sys.exit(any(row["differences"] or row["jobs"] < 2 for row in rows))


if __name__ == "__main__":
    main()

"""Runs under a real scheduler: submitted by ``insitu submit``, waited for, and told about."""

import json
import subprocess
import time
from pathlib import Path

from helpers.runs import differences

CASE = Path(__file__).parent.parent.parent / "jobs" / "burgers_online.yaml"
_ENDED = ("finished", "failed")


def write_case(folder, points, steps, until):
    """Write the shipped case with these points, training steps a sample and time, which keeps a checkpoint of its end."""
    folder.mkdir(parents=True, exist_ok=True)
    text = CASE.read_text()
    for old, new in (
        ("points: [256]", f"points: [{points}]"),
        ("until: 2.0", f"until: {until}"),
        ("\n  steps: 2\n", f"\n  steps: {steps}\n"),
    ):
        assert old in text
        text = text.replace(old, new)
    case = folder / "case.yaml"
    case.write_text(f"{text}checkpoint: {{seconds: 10, steps: 1000000, keep_finished: true}}\n")
    return case


def run_uninterrupted(case, run):
    """Run a case on two ranks to its end; return the seconds it took."""
    began = time.monotonic()
    command = ["mpirun", "-n", "2", "insitu", "run", str(case), "--output", str(run)]
    subprocess.run([*command, "--resume=never"], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def submit(case, run, *options):
    """Submit a case on two nodes; return the scheduler's name for the job."""
    shape = ["--nodes=2", "--resubmissions=30", f"--output={run}"]
    command = ["insitu", "submit", str(case), *shape, *options]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def await_end(run, reference, limit=1800):
    """Wait until a run has ended; return what there is to say about it beside one without interruption."""
    deadline = time.monotonic() + limit
    while _status(run) not in _ENDED and time.monotonic() < deadline:
        time.sleep(1)
    log = (run / "jobs.log").read_text().splitlines()
    began = time.strptime(log[0].split()[0] + " UTC", "%Y-%m-%dT%H:%M:%SZ %Z")
    ended = time.gmtime((run / "state.json").stat().st_mtime)
    return {
        "status": _status(run),
        "jobs": len(log),
        "began_at_step": [_newest(line.partition(": ")[2].split()) for line in log],
        "seconds": round(time.mktime(ended) - time.mktime(began)),
        "differences": len(differences(run, reference)),
    }


def _status(run):
    try:
        return json.loads((run / "state.json").read_text())["status"]
    except (OSError, ValueError):
        return None


def _newest(checkpoints):
    return max((int(name.split("-")[1]) for name in checkpoints), default=0)

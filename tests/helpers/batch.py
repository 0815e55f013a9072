"""Job scripts on commands that stand for a site's: a launcher that starts the ranks of a node, a scheduler that takes notes."""

import json
import shlex
import subprocess
from pathlib import Path

from jsonargparse import ArgumentParser

from insitu.submission import add_options, job_of

CASE = Path(__file__).parent.parent.parent / "jobs" / "burgers.yaml"
NEEDED = ["--time", "1:00:00", "--account", "PROJ", "--filesystems", "home:eagle"]

# Starts the ranks of one node, one after the other, with the variables that the site's launcher gives them.
LAUNCHER = r"""#!/bin/bash
echo "$*" > "$NOTES/launched"
flags=" $* "
flags=${flags//=/ }
[[ $flags =~ \ --?(ppn|ntasks-per-node)\ ([0-9]+) ]] && ranks=${BASH_REMATCH[2]}
while [ "$1" != insitu ] && [ "$1" != bash ]; do shift; done
for ((rank = 0; rank < ranks; rank++)); do
  given=("PMI_LOCAL_RANK=$rank" "PALS_LOCAL_RANKID=$rank")
  [ "${0##*/}" = srun ] && given=("SLURM_LOCALID=$rank")
  if [[ $flags == *" --gpus-per-task 1 "* && $flags == *" --gpu-bind closest "* ]]; then
    closest=45236701
    given+=("ROCR_VISIBLE_DEVICES=${closest:rank:1}" "CUDA_VISIBLE_DEVICES=${closest:rank:1}")
  fi
  env "${given[@]}" "$@" || exit
done
"""

# Notes how it was called, answers as the scheduler would.
SCHEDULER = """#!/bin/bash
printf '%s\\n' "${0##*/} $*" >> "$NOTES/asked"
echo 42.server
"""


def job(*arguments, site, output):
    """Return the job that ``insitu submit`` makes of its arguments."""
    parser = ArgumentParser(exit_on_error=False)
    add_options(parser)
    given = [str(CASE), "--site", str(site), "--output", str(output), *arguments]
    return job_of(parser.parse_args(given), [])


def write_command(folder, name, text):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


class Place:
    """A host with a launcher, a scheduler and an ``insitu`` that does what a test says."""

    def __init__(self, folder):
        self.folder = folder
        self.run = folder / "run"
        (folder / "enter").write_text("")
        for name in ("mpiexec", "mpirun", "srun"):
            write_command(folder / "bin", name, LAUNCHER)
        for name in ("qsub", "sbatch", "scontrol"):
            write_command(folder / "bin", name, SCHEDULER)

    def insitu(self, text):
        """Make bash text the command ``insitu``; ``$output`` is the run directory."""
        find = 'while [ $# -gt 0 ]; do [ "$1" = --output ] && output=$2; shift; done\n'
        write_command(self.folder / "bin", "insitu", f'#!/bin/bash\nall="$*"\n{find}{text}\n')

    def environment(self, **variables):
        path = f"{self.folder / 'bin'}:/usr/bin:/bin"
        job = {"PBS_JOBID": "41.server", "SLURM_JOB_ID": "41"}
        return {"PATH": path, "NOTES": str(self.folder), **job, **variables}

    def start(self, script, **variables):
        """Start a script as the scheduler does."""
        home = Path(__file__).parent.parent.parent / "set_env.sh"
        (self.folder / "job.sh").write_text(
            script.replace(f"source {home}", f"source {self.folder / 'enter'}")
        )
        return subprocess.Popen(
            ["bash", str(self.folder / "job.sh")],
            env=self.environment(**variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def job(self, script, **variables):
        """Run a script to its end; return (exit code, output)."""
        process = self.start(script, **variables)
        out, _ = process.communicate(timeout=60)
        return process.returncode, out

    def asked(self):
        """Return what the scheduler was asked for."""
        notes = self.folder / "asked"
        return (
            [shlex.split(line) for line in notes.read_text().splitlines()] if notes.exists() else []
        )


def state_text(indent=1, **values):
    """Return the text of a run's state file."""
    known = {
        "status": "unfinished",
        "stage": "time loop",
        "step": 0,
        "time": 0.0,
        "checkpoint": None,
    }
    return json.dumps({**known, "reason": None, **values}, indent=indent)


def seen_by(out):
    """Return what each rank saw of a variable, as an ``insitu`` of `showing` said."""
    return [line.removeprefix("sees ") for line in out.splitlines() if line.startswith("sees ")]


def showing(variable):
    """Return bash text that says what a rank sees of a variable."""
    return f'echo "sees ${{{variable}:-}}"'

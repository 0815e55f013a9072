"""A job: its script, the files beside it, and the command that submits it."""

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import insitu.submission.members as ensemble
from insitu.case_errors import CaseError
from insitu.submission.sites import Site

__all__ = ["Job"]

_PREFIXES = {"pbs": "#PBS ", "slurm": "#SBATCH ", "cobalt": "#COBALT "}
# Directives of batch jobs that mean nothing in a session.
_BATCH_ONLY = re.compile(
    r"-[Njkr] |--(job-name|output|open-mode|signal)=|--(requeue|jobname)\b", re.ASCII
)


@dataclass(frozen=True)
class Job:
    """A case on the nodes of a site.

    Parameters
    ----------
    site
        Where it runs.
    folder
        Run directory, absolute; it takes the script, the scheduler's output and a log of the jobs too.
    values
        What the site's template asks for, by name.
    members
        Flags of each member of an array of jobs; empty: one job.
    """

    site: Site
    folder: Path
    values: Mapping[str, Any]
    members: Sequence[Sequence[str]] = ()

    @property
    def path(self) -> Path:
        """Where the script is written, and where it submits itself from again."""
        return self.folder / "job.sh"

    def script(self) -> str:
        """Return the text of the script."""
        return self.site.render({**self.values, "run": self.folder, "script": self.path})

    def command(self) -> list[str]:
        """Return the command that submits the script, from the run directory."""
        last = len(self.members) - 1
        if self.site.scheduler == "slurm":
            return [
                "sbatch",
                "--parsable",
                *([f"--array=0-{last}"] if self.members else []),
                str(self.path),
            ]
        return ["qsub", *(["-J", f"0-{last}"] if self.members else []), str(self.path)]

    def session(self) -> list[str]:
        """Return the command for an interactive session on the nodes that the script asks for."""
        prefix = _PREFIXES[self.site.scheduler]
        asked = [
            line.removeprefix(prefix)
            for line in self.script().splitlines()
            if line.startswith(prefix)
        ]
        words = [
            word for line in asked if not _BATCH_ONLY.match(line) for word in line.split(" ", 1)
        ]
        return ["salloc", *words] if self.site.scheduler == "slurm" else ["qsub", "-I", *words]

    def write(self) -> None:
        """Write the script and, of an array, the flags of its members into the run directory."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path.write_text(self.script())
        self.path.chmod(0o755)
        if self.members:
            (self.folder / "members").write_text(ensemble.lines(self.members))

    def submit(self) -> str:
        """Write the files, submit the script and return the scheduler's name for the job.

        Raises
        ------
        CaseError
            The scheduler's command is not there, or refuses the job.
        """
        self.write()
        command = self.command()
        try:
            done = subprocess.run(
                command, cwd=self.folder, capture_output=True, text=True, check=True
            )
        except FileNotFoundError:
            raise CaseError(
                f"site {self.site.name} takes jobs by {command[0]}, which is not found here; submit on its login node, or look "
                "at the script by --dry-run"
            ) from None
        except subprocess.CalledProcessError as error:
            said = " ".join(error.stderr.split()) or f"exit code {error.returncode}"
            raise CaseError(
                f"site {self.site.name} must accept {self.path}, {command[0]} says: {said}; correct the options"
            ) from None
        print(done.stderr, end="", file=sys.stderr)
        return done.stdout.strip()

"""What ``insitu submit`` is asked for, and the job that it makes of it."""

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from insitu.case_errors import CaseError
from insitu.submission.job import Job
from insitu.submission.members import members_of
from insitu.submission.sites import Site, find_site

__all__ = ["CARRIED", "add_options", "job_of"]

CARRIED = (  # variables that the script sets as the submitting shell has them: PBS passes none, and its -v no second list
    "INSITU_DEVICE",
    "INSITU_GPU_AWARE_MPI",
    "INSITU_LAUNCHER",
    "OCCA_CACHE_DIR",
    "OCCA_CUDA_COMPILER",
    "OCCA_CXX",
    "OCCA_CXXFLAGS",
)
_OWN = ("--output", "--resume", "--time-limit")
_MEANING = {
    "account": "the project that pays",
    "filesystems": "those the job uses, such as home:eagle",
    "queue": "where it waits",
}
_WORD = re.compile(r"[\w.:,+@%/=-]+")
_TIME = re.compile(r"(\d+):([0-5]\d):([0-5]\d)")
_CHECKOUT = Path(__file__).parent.parent.parent


def add_options(parser: Any) -> None:
    """Give a parser the options of a job."""
    add = parser.add_argument
    add("case", help="case file (YAML); its flags follow after --")
    add(
        "--site",
        default=None,
        help="name of a site, or a file of your own; where it is left out, the one that is recognised",
    )
    add("--nodes", type=int, default=1, help="nodes")
    add("--time", default=None, help="walltime as H:MM:SS; needed")
    add(
        "--ranks-per-node",
        type=int,
        default=None,
        help="ranks on each node; one for each GPU where the site is known",
    )
    add(
        "--cores-per-rank",
        type=int,
        default=None,
        help="cores of each rank; a fair share of the node's where they are known",
    )
    add(
        "--gpus-per-node",
        type=int,
        default=None,
        help="GPUs of each node, where the site does not say it",
    )
    add("--account", default=None, help="project that pays")
    add("--queue", default=None, help="queue, partition or quality of service")
    add("--filesystems", default=None, help="file systems that the job uses, such as home:eagle")
    add(
        "--directive",
        action="append",
        default=None,
        help="a further option for the scheduler, such as '--qos=debug'; repeatable",
    )
    add(
        "--resubmissions",
        type=int,
        default=10,
        help="jobs that may follow this one until the run is finished",
    )
    add(
        "--margin",
        type=int,
        default=None,
        help="seconds before the end of the walltime at which the run stops; 300 or a fifth of it",
    )
    add(
        "--array",
        action="append",
        default=None,
        help="an ensemble, a job and a run directory for each member: KEY=[VALUE, ...] or a YAML file; repeatable, they multiply",
    )
    add(
        "--output",
        default=None,
        help="run directory; out/<name of the case file> where it is left out",
    )
    add(
        "--interactive",
        action="store_true",
        help="start a session on such nodes instead, in which to run the script",
    )
    add(
        "--dry-run",
        action="store_true",
        help="show the script and the command, write and submit nothing",
    )


def job_of(options: Any, flags: Sequence[str]) -> Job:
    """Return the job that is asked for.

    Parameters
    ----------
    options
        Values of the options by name, as `add_options` declares them.
    flags
        Flags for ``insitu run``.

    Raises
    ------
    CaseError
        Something that the site needs is missing, or a value cannot be.
    """
    site = find_site(options.site)
    asked = {
        "time": options.time,
        "account": options.account,
        "queue": options.queue or site.queue,
        "filesystems": options.filesystems,
    }
    _require(site, asked)
    for name, value in asked.items():
        if value is not None and not _WORD.fullmatch(value):
            raise CaseError(f"--{name} must be one word, got {value!r}; correct it")
    seconds = _seconds(options.time)
    margin = min(300, seconds // 5) if options.margin is None else options.margin
    if not 0 <= margin < seconds:
        raise CaseError(f"--margin must be from 0 to {seconds - 1} s, got {margin}; shorten it")
    members = members_of(options.array) if options.array else []
    if len(members) == 1 or (members and (site.scheduler == "cobalt" or options.interactive)):
        raise CaseError(
            f"--array needs two members or more and a batch job of PBS or Slurm, got {len(members)} on {site.name}; leave it out"
        )
    values = {
        **asked,
        **_shape(site, options),
        "seconds": seconds,
        "margin": margin,
        "resubmissions": _resubmissions(site, asked["queue"], options),
        "directive": [_one_line(each) for each in options.directive or []],
        "name": re.sub(r"[^\w.-]", "_", Path(options.case).stem),
        "case": Path(options.case).resolve(),
        "directory": Path.cwd(),
        "flags": _harmless(flags),
        "enter": _entrance(),
        "variables": [f"{name}={os.environ[name]}" for name in CARRIED if name in os.environ]
        or None,
    }
    folder = Path(options.output) if options.output else Path("out") / Path(options.case).stem
    return Job(site, folder.resolve(), values, members)


def _require(site: Site, asked: dict[str, str | None]) -> None:
    missing = [name for name in ("time", *site.needs) if asked[name] is None]
    if not missing:
        return
    wanted = [f"--{name} ({_MEANING.get(name, 'the walltime, as 1:00:00')})" for name in missing]
    raise CaseError(
        f"site {site.name} needs {' and '.join(wanted)}, got none; add {'it' if len(wanted) == 1 else 'them'}"
    )


def _seconds(time: str) -> int:
    found = _TIME.fullmatch(time)
    seconds = (
        sum(int(part) * unit for part, unit in zip(found.groups(), (3600, 60, 1), strict=True))
        if found
        else 0
    )
    if not seconds:
        raise CaseError(
            f"--time must be a walltime as 1:00:00, got {time}; give hours, minutes and seconds"
        )
    return seconds


def _shape(site: Site, options: Any) -> dict[str, int | None]:
    """Return how many nodes, ranks and cores, after checking them."""
    ranks = options.ranks_per_node or site.ranks_per_node
    cores = options.cores_per_rank or site.cores(ranks)
    for name, value in (
        ("nodes", options.nodes),
        ("ranks-per-node", ranks),
        ("cores-per-rank", cores),
    ):
        if value < 1:
            raise CaseError(f"--{name} must be 1 or more, got {value}; correct it")
    if site.most_ranks_per_node is not None and ranks > site.most_ranks_per_node:
        raise CaseError(
            f"a node of {site.name} takes {site.most_ranks_per_node} ranks or fewer, got {ranks}; take more --nodes"
        )
    return {
        "nodes": options.nodes,
        "ranks_per_node": ranks,
        "ranks": options.nodes * ranks,
        "cores": cores,
        "node_cores": ranks * cores,
        "gpus_per_node": options.gpus_per_node,
    }


def _resubmissions(site: Site, queue: str | None, options: Any) -> int:
    if options.resubmissions < 0:
        raise CaseError(
            f"--resubmissions must be 0 or more, got {options.resubmissions}; correct it"
        )
    words = {queue, *re.split(r"[\s=]+", " ".join(options.directive or []))}
    closed = sorted(set(site.unchained) & words)
    if closed and options.resubmissions:
        print(
            f"{closed[0]} of {site.name} allows no job to submit the next: this one runs once",
            file=sys.stderr,
        )
    return 0 if closed else options.resubmissions


def _harmless(flags: Sequence[str]) -> list[str]:
    """Return the flags of ``insitu run``, which leave alone what the script says itself."""
    for name in (flag.partition("=")[0] for flag in flags):
        if name in _OWN:
            raise CaseError(
                f"{name} is the script's to say in a job, got it after --; leave it out there, and give the run directory before"
            )
    return list(flags)


def _one_line(directive: str) -> str:
    if not directive.strip() or "\n" in directive:
        raise CaseError(f"--directive must be one line, got {directive!r}; correct it")
    return directive.strip()


def _entrance() -> list[str]:
    """Return the command that makes a shell see this installation: a checkout's set_env.sh, or its virtual environment's."""
    for script in (_CHECKOUT / "set_env.sh", Path(sys.prefix) / "bin" / "activate"):
        if script.is_file():
            return ["source", str(script)]
    return ["true"]

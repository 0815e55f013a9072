"""The command line: parses, calls, prints."""

import argparse
import contextlib
import dataclasses
import faulthandler
import gc
import os
import shlex
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser
from tqdm import tqdm

from insitu import ending, launch
from insitu.case_errors import CaseError, one_sentence
from insitu.checkpoint import is_finished, seconds_of
from insitu.config import Case, add_case, instantiate, resolved
from insitu.convergence import converge
from insitu.doctor import coupling_of, examine, launching, table
from insitu.information import cmake_directory, describe
from insitu.pipeline import run_case
from insitu.report import animate, write_page
from insitu.resume import forecast_again
from insitu.submission import Job, add_options, job_of
from insitu.timing import sentence
from solver import Device, DivergenceError, KernelBuildError, SolverError, name_of_run

__all__ = ["entry", "main"]

_RESUME = ("auto", "always", "never")
_BAD_INPUT, _DIVERGED, _OTHER, _INTERRUPTED = 2, 3, 1, 130


def entry() -> None:
    """Run the command line as a process: its exit code, one message, and all ranks down when one fails."""
    faulthandler.enable()
    comm = ending.world() if ending.is_launched() else None
    alarm = comm.Dup() if comm is not None and comm.size > 1 else None
    given, debug = _without_debug(sys.argv[1:])
    try:
        code = _dispatch(given)
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        code, message = _explained(error, debug, alarm.rank if alarm is not None else 0)
        if alarm is not None:
            ending.fail(alarm, code, message)
        if launch.is_first(comm):
            print(message, file=sys.stderr)
    gc.freeze()  # Python's last search for cycles, among all that torch has, takes a second
    sys.exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 2 bad input, 3 diverged, 1 anything else (an order outside its band)."""
    given, debug = _without_debug(sys.argv[1:] if arguments is None else arguments)
    try:
        return _dispatch(given)
    except (Exception, SystemExit) as error:
        if debug:
            raise
        code, message = _explained(error, debug)
        print(message, file=sys.stderr)
        return code


def _without_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    return [argument for argument in arguments if argument != "--debug"], "--debug" in arguments


def _explained(error: BaseException, debug: bool, rank: int = 0) -> tuple[int, str]:
    """Return the exit code and the message of a failure, with the rank where that is not the first."""
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) and error.code else _OTHER
        text = f"the command must go to its end, got sys.exit({error.code!r}) on its way; raise an exception instead"
    elif isinstance(error, KeyboardInterrupt):
        code, text = _INTERRUPTED, "interrupted"
    else:
        is_meant = isinstance(error, SolverError | ValueError | RuntimeError | OSError)
        code, text = _exit_code(error), f"{'' if is_meant else f'{type(error).__name__}: '}{error}"
    trace = "".join(traceback.format_exception(error)) if debug else ""
    return code, f"{trace}insitu: error{f' on rank {rank}' if rank else ''}: {text}"


def _exit_code(error: BaseException) -> int:
    if isinstance(error, DivergenceError):
        return _DIVERGED
    return (
        _BAD_INPUT
        if isinstance(error, SolverError | ValueError) and not isinstance(error, KernelBuildError)
        else _OTHER
    )


def _dispatch(arguments: list[str]) -> int:
    comm = ending.world() if ending.is_launched() else None
    name = arguments[0] if arguments else ""
    try:
        with _told_once(comm):
            command, settings = _parse(arguments)
    except SystemExit as stop:
        launch.require_alike(comm, {"the command": " ".join(arguments)})
        return stop.code if isinstance(stop.code, int) else _OTHER
    launch.require_alike(comm, {"the command": name})
    if name == "info":
        return _info(settings, comm)
    if name == "submit":
        return _submit(settings, comm)
    comm = ending.world()
    launch.require_one_world(comm)
    if name == "run":
        return _run(command, settings, comm)
    _require_one_rank(name, comm)
    if name in _OF_RUNS:
        return _OF_RUNS[name](settings)
    return (_doctor if name == "doctor" else _converge)(command, settings, comm)


@contextlib.contextmanager
def _told_once(comm: Any) -> Iterator[None]:
    """Let rank 0 alone print help."""
    with contextlib.ExitStack() as stack:
        if not launch.is_first(comm):
            nowhere = stack.enter_context(open(os.devnull, "w"))
            stack.enter_context(contextlib.redirect_stdout(nowhere))
            stack.enter_context(contextlib.redirect_stderr(nowhere))
        yield


def _parsers() -> tuple[argparse.ArgumentParser, dict[str, ArgumentParser]]:
    top = argparse.ArgumentParser(
        prog="insitu",
        description="Couple an OCCA simulation with machine learning on the same device memory.",
        epilog="commands: run CASE, submit CASE, converge CASE, doctor CASE, forecast RUN_DIR, report RUN_DIR, info; each "
        "explains itself with --help; --debug shows tracebacks",
    )
    top.add_argument(
        "command",
        choices=["run", "submit", "converge", "doctor", "forecast", "report", "info"],
    )
    run = _case_parser("run", "Run a case file, or go on with it.")
    run.add_argument(
        "--resume",
        nargs="?",
        const="always",
        default="auto",
        choices=_RESUME,
        help="from the last checkpoint in the run directory: auto, where there is one of this case and the run is unfinished; "
        "always, or not at all (--resume alone); never, from the beginning",
    )
    run.add_argument(
        "--time-limit",
        default=None,
        help="seconds, or hours:minutes:seconds, after which the run stops with a checkpoint and exit code 0; what the scheduler "
        "gives where it is left out",
    )
    submit = ArgumentParser(
        prog="insitu submit CASE",
        description="Submit a case to the scheduler of a site; it runs on in further jobs until it is finished.",
        exit_on_error=False,
    )
    add_options(submit)
    study = _case_parser(
        "converge", "Measure the order of a case's scheme; exit code 1 where it leaves its band."
    )
    doctor = _case_parser(
        "doctor", "Test the coupling of a case on itself; exit code 1 where a check fails."
    )
    forecast = ArgumentParser(
        prog="insitu forecast",
        description="Forecast with the saved model of a run.",
        exit_on_error=False,
    )
    forecast.add_argument("run_directory", help="directory of a finished run")
    forecast.add_argument(
        "--steps", type=int, default=None, help="snapshots to forecast; as many as the run did"
    )
    report = ArgumentParser(
        prog="insitu report",
        description="Draw the figures of a run again and write its page, report.html.",
        exit_on_error=False,
    )
    report.add_argument("run_directory", help="directory of a run, finished or not")
    report.add_argument(
        "--animate", action="store_true", help="also draw the field over time as an animation"
    )
    info = ArgumentParser(
        prog="insitu info",
        description="Say what is there and what is missing.",
        exit_on_error=False,
    )
    info.add_argument(
        "--cmake-dir",
        action="store_true",
        help="print insitu_DIR for C++ applications, and no more",
    )
    return top, {
        "run": run,
        "submit": submit,
        "converge": study,
        "doctor": doctor,
        "forecast": forecast,
        "report": report,
        "info": info,
    }


class _CaseParser(ArgumentParser):
    """Parser of a case and of how to run it; what ``--print_config`` prints is the case, a file to run."""

    def dump(self, cfg: Any, **how: Any) -> str:
        case = cfg.clone()
        for flag in ("output", "resume", "time_limit"):
            case.pop(flag, None)
        return str(super().dump(case, **how))


def _case_parser(command: str, description: str) -> ArgumentParser:
    parser = _CaseParser(
        prog=f"insitu {command} CASE", description=description, exit_on_error=False
    )
    parser.add_argument(
        "--output",
        default=None,
        help="run directory; out/<name of the case file> where it is left out",
    )
    add_case(parser)
    return parser


def _parse(arguments: list[str]) -> tuple[ArgumentParser, Any]:
    """Return the parser of a command and what it makes of the arguments.

    Raises
    ------
    SystemExit
        Help was asked for, or no known command given; what there is to say is printed.
    """
    top, commands = _parsers()
    if not arguments or arguments[0] not in commands:
        top.parse_args(arguments)
        top.print_help()
        raise SystemExit(_BAD_INPUT)
    name, *rest = _with_value(arguments)
    cut = rest.index("--") if name == "submit" and "--" in rest else len(rest)
    try:
        settings = commands[name].parse_args(
            _with_case_as_flag(rest) if name in ("run", "converge", "doctor") else rest[:cut]
        )
    except ArgumentError as error:
        raise CaseError(one_sentence(error)) from None
    if name == "submit":
        settings.flags = rest[cut + 1 :]
    return commands[name], settings


def _with_value(arguments: list[str]) -> list[str]:
    """Return the arguments with a lone ``--resume``, which the case may follow, as ``--resume=always``."""
    following = [*arguments[1:], ""]
    return [
        "--resume=always" if (each, after in _RESUME) == ("--resume", False) else each
        for each, after in zip(arguments, following, strict=True)
    ]


def _with_case_as_flag(arguments: list[str]) -> list[str]:
    """Return the arguments with CASE, the first that is neither a flag nor the value of one, as ``--config CASE``."""
    for n, argument in enumerate(arguments):
        follows_flag = n and arguments[n - 1].startswith("--") and "=" not in arguments[n - 1]
        if not argument.startswith("-") and not follows_flag:
            if not Path(argument).is_file():
                raise CaseError(
                    f"a case file is expected, {argument} is none; give a YAML file such as jobs/burgers.yaml"
                )
            return ["--config", argument, *arguments[:n], *arguments[n + 1 :]]
    return arguments


def _info(settings: Any, comm: Any) -> int:
    text = str(cmake_directory()) if settings.cmake_dir else describe(comm)
    if launch.is_first(comm):
        print(text)
    return 0


def _run(parser: ArgumentParser, settings: Any, comm: Any) -> int:
    resume, limit = settings.pop("resume"), settings.pop("time_limit")
    case, plain, folder = _load(parser, settings)
    flags = {"--output": str(folder), "--resume": resume, "--time-limit": limit}
    launch.require_alike(comm, {**flags, **plain})
    is_first = launch.is_first(comm)
    if resume == "always" and is_finished(folder, comm):
        if is_first:
            print(f"{folder}/ holds a finished run; there is nothing to resume")
        return 0
    left = None if limit is None else seconds_of(str(limit))
    report = run_case(case, plain, folder, comm, Display(is_first), resume, left)
    if not is_first:
        return 0
    if report.status == "unfinished":
        print(f"stopped, {folder}/state.json says why; the same command goes on from there")
        return 0
    seconds = {stage["name"]: stage["seconds"] for stage in report.stages}
    loop = next(stage for stage in report.stages if stage["name"] == "time loop")
    print(report.table())
    print(", ".join(f"{name} {value:.3g} s" for name, value in seconds.items()))
    print(f"time loop: {sentence(loop, report.provenance['device'])}")
    print(f"written to {folder}/")
    return 0


def _submit(settings: Any, comm: Any) -> int:
    _require_one_rank("submit", comm)
    job = job_of(settings, settings.flags)
    for flags in job.members or [[]]:
        _load(*_parse(["run", settings.case, *settings.flags, *flags]))
    if settings.interactive:
        return _open_session(job, settings.dry_run)
    if settings.dry_run:
        print(job.script(), end="")
        print(f"not submitted: {shlex.join(job.command())}", file=sys.stderr)
        return 0
    print(job.submit())
    print(f"written to {job.path}", file=sys.stderr)
    return 0


def _open_session(job: Job, is_dry: bool) -> int:
    command = job.session()
    if is_dry:
        print(shlex.join(command))
        return 0
    job.write()
    print(f"in the session, run {job.path}", file=sys.stderr, flush=True)
    os.execvp(command[0], command)


def _converge(parser: ArgumentParser, settings: Any, comm: Any) -> int:
    case, plain, folder = _load(parser, settings)
    study = converge(case, plain, folder, comm, Display())
    print(study.table())
    print(study.verdict())
    print(f"written to {folder}/")
    return 0 if study.has_passed else _OTHER


def _doctor(parser: ArgumentParser, settings: Any, comm: Any) -> int:
    case, plain, _ = _load(parser, settings)
    coupling = coupling_of(case, Device.open(name_of_run(case.device)))
    findings = examine(dataclasses.replace(coupling, on_ranks=launching(plain)))
    print(table(findings))
    return _OTHER if any(finding.status == "FAIL" for finding in findings) else 0


def _forecast(settings: Any) -> int:
    print(forecast_again(Path(settings.run_directory), settings.steps))
    return 0


def _report(settings: Any) -> int:
    folder = Path(settings.run_directory)
    if settings.animate:
        print(f"animation written to {animate(folder)}")
    print(f"page written to {write_page(folder)}")
    return 0


_OF_RUNS = {"forecast": _forecast, "report": _report}


def _require_one_rank(name: str, comm: Any) -> None:
    if comm is not None and comm.size > 1:
        raise CaseError(
            f"insitu {name} runs on one rank, got {comm.size}; start it without mpirun, or with mpirun -n 1"
        )


def _load(parser: ArgumentParser, settings: Any) -> tuple[Case, dict[str, Any], Path]:
    """Return the case, the same as plain values, and the run directory."""
    if not settings.config:
        raise CaseError(
            "a case file is expected, got none; run for example `insitu run jobs/burgers.yaml`"
        )
    output = settings.pop("output")
    folder = Path(output) if output else Path("out") / Path(str(settings.config[0])).stem
    return instantiate(parser, settings), resolved(parser, settings), folder


class Display:
    """Progress as a bar on a terminal, as a line for each tenth elsewhere; nothing where another rank shows it."""

    def __init__(self, is_shown: bool = True) -> None:
        self._is_shown = is_shown
        self._stage: str | None = None
        self._bar: Any = None
        self._tenth = -1

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """Show that ``done`` of ``total`` (unknown: None) of a stage is done."""
        if not self._is_shown:
            return
        if stage != self._stage:
            if self._bar is not None:
                self._bar.close()
            self._stage, self._tenth = stage, -1
            self._bar = tqdm(total=total, desc=stage, leave=True) if sys.stderr.isatty() else None
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
            return
        tenth = 10 * done // total if total else done // 50
        if tenth > self._tenth:
            self._tenth = tenth
            print(
                f"{stage}: {done}" + (f" of {total}" if total else ""), file=sys.stderr, flush=True
            )

"""The command line: parses, calls, prints."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser
from tqdm import tqdm

from insitu.case_errors import CaseError, one_sentence
from insitu.config import Case, add_case, instantiate, resolved
from insitu.convergence import converge
from insitu.information import describe
from insitu.pipeline import run_case
from insitu.resume import forecast_again
from solver import DivergenceError, KernelBuildError, SolverError

__all__ = ["entry", "main"]

_BAD_INPUT, _DIVERGED, _OTHER = 2, 3, 1
_LAUNCHERS = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")


def entry() -> None:
    """Run the command line as a process: its exit code, and all ranks down when one fails."""
    code = main()
    if code and (comm := _world()) is not None and comm.size > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        comm.Abort(code)
    sys.exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 2 bad input, 3 diverged, 1 anything else (an order outside its band)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [argument for argument in given if argument != "--debug"]
    try:
        return _dispatch(given)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else _OTHER
    except Exception as error:
        if debug:
            raise
        print(f"insitu: error: {error}", file=sys.stderr)
        return _exit_code(error)


def _exit_code(error: Exception) -> int:
    if isinstance(error, DivergenceError):
        return _DIVERGED
    return (
        _BAD_INPUT
        if isinstance(error, SolverError | ValueError) and not isinstance(error, KernelBuildError)
        else _OTHER
    )


def _dispatch(arguments: list[str]) -> int:
    parser, commands = _parsers()
    if not arguments or arguments[0] not in commands:
        parser.parse_args(arguments)
        parser.print_help()
        return _BAD_INPUT
    command = commands[arguments[0]]
    settings = _parse(command, arguments[1:], has_case=arguments[0] in ("run", "converge"))
    if arguments[0] == "info":
        print(describe())
    elif arguments[0] == "forecast":
        print(forecast_again(Path(settings.run_directory), settings.steps))
    elif arguments[0] == "converge":
        return _converge(command, settings)
    else:
        _run(command, settings)
    return 0


def _parsers() -> tuple[argparse.ArgumentParser, dict[str, ArgumentParser]]:
    top = argparse.ArgumentParser(
        prog="insitu",
        description="Couple an OCCA simulation with machine learning on the same device memory.",
        epilog="commands: run CASE, converge CASE, forecast RUN_DIR, info; each explains itself with --help; "
        "--debug shows tracebacks",
    )
    top.add_argument("command", choices=["run", "converge", "forecast", "info"])
    run = _case_parser("run", "Run a case file.")
    study = _case_parser(
        "converge", "Measure the order of a case's scheme; exit code 1 where it leaves its band."
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
    info = ArgumentParser(
        prog="insitu info",
        description="Say what is there and what is missing.",
        exit_on_error=False,
    )
    return top, {"run": run, "converge": study, "forecast": forecast, "info": info}


def _case_parser(command: str, description: str) -> ArgumentParser:
    parser = ArgumentParser(
        prog=f"insitu {command} CASE", description=description, exit_on_error=False
    )
    parser.add_argument(
        "--output",
        default=None,
        help="run directory; out/<name of the case file> where it is left out",
    )
    add_case(parser)
    return parser


def _parse(parser: ArgumentParser, arguments: list[str], has_case: bool) -> Any:
    if has_case:
        arguments = _with_case_as_flag(arguments)
    try:
        return parser.parse_args(arguments)
    except ArgumentError as error:
        raise CaseError(one_sentence(error)) from None


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


def _converge(parser: ArgumentParser, settings: Any) -> int:
    case, plain, folder = _load(parser, settings)
    study = converge(case, plain, folder, _one_world(), Display())
    print(study.table())
    print(study.verdict())
    print(f"written to {folder}/")
    return 0 if study.has_passed else _OTHER


def _load(parser: ArgumentParser, settings: Any) -> tuple[Case, dict[str, Any], Path]:
    """Return the case, the same as plain values, and the run directory."""
    if not settings.config:
        raise CaseError(
            "a case file is expected, got none; run for example `insitu run jobs/burgers.yaml`"
        )
    output = settings.pop("output")
    folder = Path(output) if output else Path("out") / Path(str(settings.config[0])).stem
    return instantiate(parser, settings), resolved(parser, settings), folder


def _run(parser: ArgumentParser, settings: Any) -> None:
    case, plain, folder = _load(parser, settings)
    report = run_case(case, plain, folder, _one_world(), Display())
    seconds = {stage["name"]: stage["seconds"] for stage in report.stages}
    loop = next(stage for stage in report.stages if stage["name"] == "time loop")
    print(report.table())
    print(", ".join(f"{name} {value:.3g} s" for name, value in seconds.items()))
    crossed = loop["host_to_device"] + loop["device_to_host"]
    print(
        f"time loop: {report.simulation['steps']} steps on {report.provenance['device']}, {crossed} bytes host<->device"
    )
    print(f"written to {folder}/")


class Display:
    """Progress as a bar on a terminal, as a line for each tenth elsewhere."""

    def __init__(self) -> None:
        self._stage: str | None = None
        self._bar: Any = None
        self._tenth = -1

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """Show that ``done`` of ``total`` (unknown: None) of a stage is done."""
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


def _world() -> Any:
    """Return MPI's world, or None where no MPI library is installed."""
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError):
        return None
    return MPI.COMM_WORLD


def _one_world() -> Any:
    """Return MPI's world after making sure that it is the launcher's and of one rank."""
    comm = _world()
    size = 1 if comm is None else comm.size
    launched = max(int(os.environ.get(name, "1")) for name in _LAUNCHERS)
    if launched > size:
        raise CaseError(
            f"the launcher started {launched} ranks, MPI sees {size}; start it with the mpirun of the MPI that mpi4py uses"
        )
    if size > 1:
        raise CaseError(f"this version runs on one rank, got {size}; start it with mpirun -n 1")
    return comm

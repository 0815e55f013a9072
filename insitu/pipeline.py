"""The walk: solver -> snapshots -> basis -> models -> free rollout -> report, all on one device."""

import contextlib
import copy
import errno
import functools
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from insitu.bridge import on_stream, torch_device
from insitu.checkpoint import CheckpointError, Keeper, Progress, RandomNumbers, Resume
from insitu.closure import Closure
from insitu.config import Case, CaseError, Learning, load_case
from insitu.ensembles import require_whole_members, trajectories
from insitu.fields.writer import FieldWriter
from insitu.forecasting import SplitResult, evaluate_split
from insitu.lessons import Lessons
from insitu.online.run import OnlineRun
from insitu.reduction import POD, StreamingPOD
from insitu.report import (
    Report,
    prepare_folder,
    provenance,
    save_field,
    save_online,
    save_snapshots,
    save_split,
    save_surrogates,
)
from insitu.sampler import Sampler
from insitu.scalars import Scalars
from insitu.schedule import Schedule, schedule_of
from insitu.surrogates import evaluate_surrogates
from insitu.takeover import Takeover
from insitu.timing import Ledger
from insitu.training import TrainingRecord
from solver import Device, DeviceError, Moment, Simulation, name_of_run, thread_count

__all__ = ["Progress", "learn", "run", "run_case"]

_START = Moment(0, 0.0)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_WITHOUT_SNAPSHOTS = (DeviceError, CheckpointError, KeyboardInterrupt, SystemExit, GeneratorExit)


def _silent(stage: str, done: int, total: int | None) -> None:
    """Report nothing."""


def run(
    case: str | os.PathLike[str],
    overrides: Mapping[str, Any] | None = None,
    output: str | os.PathLike[str] = "out",
    comm: Any = None,
    resume: Resume = "auto",
    limit: float | None = None,
) -> Report:
    """Run a case file; what ``insitu run CASE --output out`` does.

    Parameters
    ----------
    case
        Path of a YAML file.
    overrides
        Values by dotted key, as ``{"time.until": 1.0}``.
    output
        Run directory. A run of the same case that did not reach its end goes on from its last checkpoint there; files of one that
        did are overwritten.
    comm : mpi4py.MPI.Comm, optional
        The ranks that share the run; all of them call this with the same case. No result depends on their number, which need not
        be that of the run that wrote a checkpoint.
    resume
        "always": from a checkpoint or not at all. "never": from the beginning. "auto": as it can.
    limit
        Seconds after which the run stops by itself, with a checkpoint; None: before the scheduler ends this job, if there is one.

    Returns
    -------
    Report
        As rank 0 writes it to ``report.json``; its status is "unfinished" where the run was stopped by its time, SIGTERM, SIGUSR1
        or a file ``STOP`` in the run directory.

    Raises
    ------
    CaseError, SolverError, ValueError
        The case cannot be run as it is written.
    DivergenceError
        The solution left the finite numbers; what was computed until then is in the run directory.
    CheckpointError
        A checkpoint could not be written, as the disk is full for instance; the one before is there.
    """
    loaded, resolved = load_case(case, overrides)
    return run_case(loaded, resolved, Path(output), comm, resume=resume, limit=limit)


def run_case(
    case: Case,
    resolved: Mapping[str, Any],
    folder: Path,
    comm: Any = None,
    progress: Progress = _silent,
    resume: Resume = "auto",
    limit: float | None = None,
) -> Report:
    """Run a loaded case; see `run`."""
    keeper = Keeper(case.checkpoint, resolved, folder, comm, resume, limit)
    prepare_folder(folder, comm, keeper.found is not None)
    device = Device.open(name_of_run(case.device), comm)
    if comm is not None and comm.size > 1:
        torch.set_num_threads(thread_count())
    torch_device(device)
    ledger = Ledger(device, case.transfers, comm)
    report = Report(resolved, provenance(device))

    with ledger.stage("setup"):
        simulation = case.simulation(device, comm)
        if case.learning.surrogates:
            require_whole_members(simulation)
        schedule = schedule_of(simulation, case.time, case.sampling)
        window = _window(case, schedule.snapshots)
        size = simulation.u.interior.size
        sampler = Sampler(device, size, window, schedule.every, case.dtype)
        online = OnlineRun(case.online, simulation, sampler) if case.online else None
        fields = (
            FieldWriter(case.fields, simulation, sampler, schedule, case.time, folder)
            if case.fields
            else None
        )
        driver = _driver(case, simulation, sampler, schedule)
        scalars = Scalars(case.logging, simulation, folder)
        learning = replace(case.learning, reduction=copy.copy(case.learning.reduction))
        sampler.on_turn = functools.partial(
            _pass_on, learning.reduction, sampler, schedule.snapshots, comm
        )
        lessons = Lessons(keeper, RandomNumbers(torch_device(device)))
        keeper.attach(
            simulation, sampler, ledger, learning.reduction, online, driver, lessons, fields
        )
        scalars.start()

    end = _ending(
        keeper, report, folder, simulation, sampler, ledger, online, driver, fields, scalars
    )
    with keeper.watching(), end, on_stream(device):
        with ledger.stage("time loop") as loop:
            moments = _moments(case, simulation, sampler, schedule, driver, online, fields)
            for moment in scalars.beside(moments, online, driver):
                progress("time loop", moment.step, schedule.steps)
                keeper.look("time loop")
            loop.steps = simulation.step
            loop.sampled = sampler.taken * sampler.snapshot_bytes
        with ledger.stage("check"):
            sampler.check(simulation)
        keeper.end_loop()
        results = learn(learning, sampler.snapshots, report, ledger, progress, comm, lessons)
        learn_fields(case.learning, simulation, sampler, report, folder, ledger, progress, lessons)
        scalars.trained(report.learning, report.surrogates)
        with ledger.stage("report"):
            save_field(folder, simulation, sampler, ledger)
            first = results[learning.splits[0]]
            save_split(folder, simulation, sampler.moments, first, ledger)
            if online:
                save_online(folder, online)
    return report


@contextlib.contextmanager
def _ending(
    keeper: Keeper,
    report: Report,
    folder: Path,
    simulation: Simulation,
    sampler: Sampler,
    ledger: Ledger,
    online: OnlineRun | None,
    driver: Takeover | Closure | None,
    fields: FieldWriter | None,
    scalars: Scalars,
) -> Iterator[None]:
    """End a run as it ends: finished, stopped with a checkpoint, or failed; with a report of what is known in all cases."""

    def write() -> None:
        report.driver = driver.summary() if driver else {}
        report.online = online.summary() if online else {}
        scalars.finish()
        if fields:
            report.fields = fields.finish(simulation.step, report.error is not None)
        report.finish(folder, simulation, sampler, ledger)

    try:
        with keeper.stopping() as stop:
            yield
        report.status = "unfinished" if stop.reason else "finished"
        write()
        if stop.reason is None:
            report.show(folder, simulation)
        keeper.finish(stop.reason)
        if stop.reason is not None:  # there may be no time left for figures
            report.show(folder, simulation)
    except BaseException as error:
        is_full = isinstance(error, OSError) and error.errno in _NO_ROOM
        told = error.strerror if isinstance(error, OSError) else None
        report.fail(error)
        keeper.fail(error)
        with contextlib.suppress(OSError):  # the disk may be what failed
            if not isinstance(error, _WITHOUT_SNAPSHOTS) and not is_full:
                save_snapshots(folder, simulation, sampler)
            write()
            report.show(folder, simulation)
        if isinstance(error, DeviceError):
            raise RuntimeError(f"the device failed during the run: {error}") from error
        if is_full:
            raise RuntimeError(
                f"{folder} must have room for the results, got '{told}'; make room there and run the same command "
                f"again, {keeper.way_on}"
            ) from error
        raise


def learn(
    settings: Learning,
    snapshots: Float[Tensor, "time dof"],
    report: Report,
    ledger: Ledger,
    progress: Progress = _silent,
    comm: Any = None,
    lessons: Lessons | None = None,
) -> dict[str, SplitResult]:
    """Evaluate each split of the snapshots (time, dof of this rank), on their device, and report it."""
    train = int(len(snapshots) * settings.train_fraction)
    models = [settings.model, *settings.baselines]
    results: dict[str, SplitResult] = {}
    for split in settings.splits:

        def tell(epoch: int, record: TrainingRecord, split: str = split) -> None:
            progress(f"training, {split} split, epochs", epoch + 1, None)

        results[split] = evaluate_split(
            split, snapshots, train, settings.reduction, models, ledger, tell, comm, lessons
        )
        report.add_split(split, results[split])
    return results


def learn_fields(
    settings: Learning,
    simulation: Simulation,
    sampler: Sampler,
    report: Report,
    folder: Path,
    ledger: Ledger,
    progress: Progress = _silent,
    lessons: Lessons | None = None,
) -> None:
    """Train the surrogates on the members' snapshots, on their device, report and save them; all ranks call it."""
    if settings.surrogates is None:
        return
    moments = sampler.moments
    train = int(len(moments) * settings.train_fraction)

    def tell(epoch: int, record: TrainingRecord) -> None:
        progress("training, surrogates, epochs", epoch + 1, None)

    with ledger.stage("surrogates"):
        found = evaluate_surrogates(
            settings.surrogates,
            trajectories(simulation, sampler),
            train,
            simulation.grid.is_periodic,
            moments[1].time - moments[0].time,
            tell,
            simulation.comm,
            lessons,
        )
    report.add_surrogates(found)
    if simulation.ranks.rank == 0:
        save_surrogates(folder, found)


def _driver(
    case: Case, simulation: Simulation, sampler: Sampler, schedule: Schedule
) -> Takeover | Closure | None:
    """Return what advances the simulation in the solver's place or beside it, None where the solver is alone."""
    if case.takeover is None and case.closure is None:
        return None
    if schedule.interval is not None:
        raise CaseError(
            "sampling.interval with time.cfl needs the solver alone, got a takeover or a closure; give time.dt, or sampling.every"
        )
    if case.takeover is not None:
        dt = next(iter(simulation.plan(case.time.until, case.time.steps)))[0]
        return case.takeover.build(simulation, dt, sampler)
    return case.closure.build(simulation, sampler) if case.closure is not None else None


def _moments(
    case: Case,
    simulation: Simulation,
    sampler: Sampler,
    schedule: Schedule,
    driver: Takeover | Closure | None,
    online: OnlineRun | None,
    fields: FieldWriter | None,
) -> Iterator[Moment]:
    """Advance the simulation from where it is by whoever is to do it, with the training and the file of the fields beside it."""
    time = case.time
    looked = online.steps_at_once if online else case.checkpoint.steps
    most = math.gcd(looked or 0, (fields and fields.most) or 0) or None
    if driver is not None:
        moments = driver.follow(time.until, time.steps, _START)
    else:
        moments = sampler.follow(
            simulation, time.until, time.steps, schedule.interval, most, _START
        )
    moments = online.beside(moments) if online else moments
    return fields.beside(moments) if fields else moments


def _pass_on(reduction: POD, sampler: Sampler, total: int, comm: Any) -> None:
    """Show a streaming reduction those snapshots of a full ring that the run, of `total` snapshots, will overwrite.

    So it has seen all that the ring no longer holds, and nothing that it still does: a split decides on these.
    """
    leaving = min(sampler.window, total - sampler.taken)
    if isinstance(reduction, StreamingPOD) and leaving:
        reduction.partial_fit(sampler.snapshots[:leaving], comm=comm)


def _window(case: Case, total: int) -> int:
    """Return the snapshots to hold: all of the run or ``sampling.window``, enough for the models either way."""
    window = min(case.sampling.window or total, total)
    is_streaming = isinstance(case.learning.reduction, StreamingPOD) and window < total
    if is_streaming and case.time.cfl is not None and case.time.steps is not None:
        raise CaseError(
            "a StreamingPOD must know how many snapshots the run takes, got time.steps beside time.until with time.cfl; leave "
            "time.steps out"
        )
    history = max(model.history for model in (case.learning.model, *case.learning.baselines))
    train = int(window * case.learning.train_fraction)
    if train < history + 2 or window - train < 1:
        raise CaseError(
            f"the run must give at least {history + 2} snapshots to train a model of history {history} and one to "
            f"forecast, got {train} and {window - train} of {window}; sample more often, run longer, or widen sampling.window"
        )
    return window

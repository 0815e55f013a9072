"""The pipeline of an application that steps itself: it shows its fields, tells each step, and reads results back."""

import contextlib
import copy
import math
import os
import time as clock
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from insitu.application.fields import Fields, Part
from insitu.bridge import on_stream, torch_device
from insitu.collectives import on_first, together
from insitu.config import CaseError, load_application_case
from insitu.forecasting import SplitResult
from insitu.pipeline import learn
from insitu.reduction import StreamingPOD
from insitu.report import (
    Report,
    draw_field,
    prepare_folder,
    provenance,
    save_snapshots,
    save_split,
)
from insitu.sampler import Sampler
from insitu.timing import Ledger
from solver import Device, DivergenceError, Grid, Moment

__all__ = ["InSitu"]

_ROUND_OFF = 1e-6  # relative, of the time between two snapshots


class InSitu:
    """In-situ learning for an application with a time loop of its own: the push-style twin of `insitu.run`.

    The application declares its block of the grid, registers its arrays, and calls `step` after each of its steps; nothing of it
    is copied but the snapshots, on their device. `finish` learns from them and writes the run directory. All ranks make the same
    calls. As a context manager it marks the run as failed where the block raises.

    Parameters
    ----------
    case
        Path of a YAML file, see `insitu.ApplicationCase`: a case of `insitu run` will do, its grid, equation and time are then
        for the application to use, see `value`.
    overrides
        Values by dotted key, as ``{"sampling.every": 10}``.
    output
        Run directory; files of an earlier run in it are overwritten.
    comm : mpi4py.MPI.Comm, optional
        The application's ranks.
    device
        Where the fields are, as "Serial", "OpenMP" or "CUDA:0"; where it is left out, where the first array is.

    Raises
    ------
    CaseError
        The case cannot be read, or asks for what needs this project's own solver.
    """

    def __init__(
        self,
        case: str | os.PathLike[str],
        overrides: Mapping[str, Any] | None = None,
        output: str | os.PathLike[str] = "out",
        comm: Any = None,
        device: str | None = None,
    ):
        with together(comm):
            self.case, self._resolved = load_application_case(case, overrides)
        self.folder = Path(output)
        self.comm = comm
        prepare_folder(self.folder, comm)
        self._device_name = device
        self._grid: Grid | None = self.case.grid
        self._fields: Fields | None = None
        self._sampler: Sampler | None = None
        self._loop = contextlib.ExitStack()
        self._results: dict[str, SplitResult] = {}
        self._learnt_at = 0
        self.seconds = 0.0
        self.report: Report | None = None
        self.is_open = True

    def value(self, key: str) -> Any:
        """Return what the case has under a dotted key, as ``"equation.init_args.nu"`` or ``"grid.points.0"``.

        Raises
        ------
        CaseError
            There is no such key.
        """
        found: Any = self._resolved
        for part in key.split("."):
            try:
                found = found[int(part) if isinstance(found, list) else part]
            except (KeyError, IndexError, ValueError, TypeError):
                raise CaseError(f"the case must have a key {key}, it has none; add it") from None
        return found

    def declare(
        self,
        grid: Grid | None = None,
        begin: Sequence[int] | None = None,
        points: Sequence[int] | None = None,
    ) -> None:
        """Say which points this rank has; before the first field is registered.

        Parameters
        ----------
        grid
            The whole grid; where it is left out, that of the case.
        begin
            Where this rank's first point stands in the whole grid; 0 along each axis where it is left out.
        points
            This rank's points along each axis; all from `begin` on where they are left out. The blocks of all ranks must
            cover the grid once.

        Raises
        ------
        CaseError
            No grid is known, the case has another, or the blocks do not fit.
        """
        with together(self.comm):
            if self._fields is not None:
                raise CaseError(
                    "the block is declared once, before fields are registered; declare it first"
                )
            whole = grid or self.case.grid
            if whole is None:
                raise CaseError("the whole grid must be known; declare it, or give the case a grid")
            if self.case.grid is not None and not _is_alike(whole, self.case.grid):
                raise CaseError(
                    f"the application's grid must be the case's, got {list(whole.points)} points in {whole.extent}, the case has "
                    f"{list(self.case.grid.points)} in {self.case.grid.extent}; match them"
                )
            if begin is not None or points is not None:
                first = tuple(begin or (0,) * len(whole.points))
                rest = tuple(n - b for n, b in zip(whole.points, first, strict=True))
                whole = Part(whole, first, points or rest)
        self._grid = whole

    def register(
        self, name: str, array: Any, components: int = 1, ghost: int | Sequence[int] = 0
    ) -> None:
        """Show a field to the learning; snapshots have all registered fields, in this order.

        Parameters
        ----------
        name
            What errors and `forecast` call it.
        array
            NumPy, torch, CuPy or JAX array, or anything with ``__dlpack__``, on the application's device: float32 or float64,
            ``(components, *(points + 2 ghost))`` of this rank's block, row-major. It is seen in place and kept alive until
            `finish`; it must stay where it is.
        components
            Of the field.
        ghost
            Ghost points on each side of each axis, or one number for each axis; they are left out of snapshots.

        Raises
        ------
        CaseError
            The array does not fit the block or the other fields, or steps have been told already.
        DeviceError
            It lives on another device.
        """
        with together(self.comm):
            self._require_open()
            if self._sampler is not None:
                raise CaseError(
                    f"fields are registered before the first step, got {name} after it; register it earlier"
                )
            if self._grid is None:
                raise CaseError("the whole grid must be known; declare it, or give the case a grid")
        if self._fields is None:
            device = Device.open(self._device_name or _device_of(array))
            torch_device(device)
            self._fields = Fields(device, self._grid, self.comm)
            self._ledger = Ledger(device, self.case.transfers, self._fields.comm)
            self.report = Report(self._resolved, provenance(device))
        self._fields.register(name, array, components, ghost)

    def step(self, time: float, step: int | None = None) -> int:
        """Tell that the application has finished a step; the fields hold its result.

        Parameters
        ----------
        time
            Simulated time now.
        step
            Number of the step, from 1 on; the next one where it is left out.

        Returns
        -------
        int
            The number of the next step that must be told; those between need not be.

        Raises
        ------
        CaseError
            Nothing is registered, or snapshots would not be equally spaced.
        Exception
            What fails on one rank is raised on all of them.
        """
        start = clock.perf_counter()
        self._require_open()
        sampler, fields = self._begun()
        moment = Moment(fields.step + 1 if step is None else step, time)
        if moment.step <= fields.step:
            raise CaseError(
                f"steps must be told in order, got {moment.step} after {fields.step}; count them up"
            )
        fields.reach(moment)
        if self._is_due(moment):
            sampler.turn_if_full()
            with together(fields.comm), on_stream(fields.device):
                sampler.take(fields.views, moment)
        self.seconds += clock.perf_counter() - start
        return self._next_due(moment)

    def learn(self) -> dict[str, SplitResult]:
        """Fit basis and models to the snapshots held and let them forecast; see `insitu.forecasting.evaluate_split`.

        `finish` calls it; before that it is for results that are wanted during the run.

        Returns
        -------
        dict
            The result of each split.

        Raises
        ------
        DivergenceError
            A snapshot is not finite.
        CaseError, ValueError
            Snapshots are too few, or not equally spaced.
        """
        self._require_open()
        sampler, fields = self._begun()
        if self._learnt_at == sampler.taken and self._results:
            return self._results
        self._pause_loop()
        report, ledger, settings = self._report, self._ledger, self.case.learning
        with on_stream(fields.device):
            with ledger.stage("check"), together(fields.comm):
                self._check(sampler)
            reduction = copy.copy(self._reduction)
            self._results = learn(
                replace(settings, reduction=reduction),
                sampler.snapshots,
                report,
                ledger,
                comm=fields.comm,
            )
        self._learnt_at = sampler.taken
        return self._results

    def forecast(self, ahead: int, name: str | None = None) -> Float[Tensor, "components ..."]:
        """Return the case's model's forecast from the newest snapshot on, on this rank's block and the fields' device.

        Parameters
        ----------
        ahead
            Snapshots ahead, 1 or more.
        name
            The field; all components of the state where it is left out.

        Raises
        ------
        CaseError
            Nothing has been learnt yet, ``ahead`` is below 1, or there is no such field.
        """
        result = self._first_result()
        if ahead < 1:
            raise CaseError(f"a forecast goes 1 or more snapshots ahead, got {ahead}; correct it")
        fields = self._known_fields()
        model = next(iter(result.forecasts.values())).model
        newest = result.coefficients[-model.history :]
        rolled = on_first(
            fields.comm, lambda: model.forecast(newest, ahead)[-1:], result.coefficients.device
        )
        state = result.basis.inverse_transform(rolled).reshape(fields.u.shape)
        if name is None:
            return state
        return state[self._components(name)]

    def coefficients(self) -> Float[Tensor, " rank"]:
        """Return the newest snapshot's coefficients in the basis, the same on every rank, on the fields' device.

        Raises
        ------
        CaseError
            Nothing has been learnt yet.
        """
        return self._first_result().coefficients[-1]

    def finish(self) -> Report:
        """Learn, write the run directory as `insitu run` does, and let the application's memory go.

        Results can still be read afterwards.
        """
        self._require_open()
        fields = self._known_fields()
        try:
            self.learn()
            sampler, ledger = self._begun()[0], self._ledger
            with on_stream(fields.device), ledger.stage("report"):
                draw_field(self.folder, fields, sampler, ledger)
                first = self._results[self.case.learning.splits[0]]
                save_split(self.folder, fields, sampler.moments, first, ledger)
        except BaseException as error:
            self.fail(error)
            raise
        self._report.status = "finished"
        self._close()
        return self._report

    def fail(self, error: BaseException) -> None:
        """Close a run that an error ends: what is known is written, without waiting for other ranks."""
        if not self.is_open:
            return
        if self.report is None:
            self.is_open = False
            return
        self.report.fail(error)
        fields = self._known_fields()
        if self._sampler is not None and fields.registered and isinstance(error, Exception):
            save_snapshots(self.folder, fields, self._sampler)
        self._close()

    def __enter__(self) -> "InSitu":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.fail(error)
        elif self.is_open:
            self.finish()

    def _close(self) -> None:
        self._pause_loop()
        self.is_open = False
        fields = self._known_fields()
        if self._sampler is not None:
            self._report.finish(self.folder, fields, self._sampler, self._ledger)
        fields.release()

    def _begun(self) -> tuple[Sampler, Fields]:
        """Return sampler and fields; the first call makes the ring, and the time loop goes on."""
        fields = self._known_fields()
        if self._sampler is None:
            self._sampler = self._begin(fields)
        if self._loop_stage is None:
            self._loop_stage = self._loop.enter_context(self._ledger.stage("time loop"))
        return self._sampler, fields

    _loop_stage: Any = None

    def _begin(self, fields: Fields) -> Sampler:
        sampling = self.case.sampling
        planned = self._planned()
        window = min(sampling.window or planned, planned) if planned else sampling.window
        self._reduction = copy.copy(self.case.learning.reduction)
        if window is None:
            raise CaseError(
                "an application's case must say how many snapshots are held, got none of sampling.window, time.steps and "
                "time.until; give sampling.window"
            )
        if isinstance(self._reduction, StreamingPOD) and not planned:
            raise CaseError(
                "a StreamingPOD must know how many snapshots the application takes, got no time; give the case time.steps"
            )
        with self._ledger.stage("setup"):
            size = math.prod(fields.u.shape)
            dtype = str(fields.dtype)
            sampler = Sampler(fields.device, size, window, sampling.every or 1, dtype)
        sampler.on_turn = self._pass_on
        return sampler

    def _planned(self) -> int | None:
        """Return the snapshots that the case says the application takes, None where it does not."""
        time, sampling = self.case.time, self.case.sampling
        if time is None:
            return None
        ends = [] if time.until is None else [time.until]
        if time.steps is not None and time.dt is not None:
            ends.append(time.steps * time.dt)
        if sampling.interval is not None:
            return _whole(min(ends) / sampling.interval) if ends else None
        counts = [] if time.steps is None else [time.steps]
        if time.until is not None and time.dt is not None:
            counts.append(math.ceil(time.until / time.dt * (1 - _ROUND_OFF)))
        return min(counts) // (sampling.every or 1) if counts else None

    def _pass_on(self) -> None:
        """Show a streaming reduction what a full ring is about to overwrite; see `insitu.pipeline`."""
        sampler, planned = self._sampler, self._planned()
        if sampler is None or planned is None or not isinstance(self._reduction, StreamingPOD):
            return
        leaving = min(sampler.window, planned - sampler.taken)
        if leaving > 0:
            self._reduction.partial_fit(sampler.snapshots[:leaving], comm=self._known_fields().comm)

    def _is_due(self, moment: Moment) -> bool:
        sampler, interval = self._sampler, self.case.sampling.interval
        if sampler is None:
            return False
        if interval is None:
            return sampler.due(moment)
        due = (sampler.taken + 1) * interval
        if moment.time > due + _ROUND_OFF * interval:
            raise CaseError(
                f"snapshots are due every {interval:g}, step {moment.step} went from before t = {due:g} to {moment.time:g}; let "
                "steps end at those times, or give sampling.every"
            )
        return moment.time > due - _ROUND_OFF * interval

    def _next_due(self, moment: Moment) -> int:
        every = self.case.sampling.every or 1
        if self.case.sampling.interval is not None:
            return moment.step + 1
        return (moment.step // every + 1) * every

    def _check(self, sampler: Sampler) -> None:
        """Refuse snapshots from which nothing can be learnt."""
        moments = sampler.moments
        if len(moments) < 2:
            raise CaseError(
                f"learning needs snapshots, got {len(moments)}; tell more steps, or sample more often"
            )
        is_finite = torch.isfinite(sampler.snapshots).all(dim=1)
        if not bool(is_finite.all()):
            bad = moments[int((~is_finite).nonzero()[0])]
            raise DivergenceError(
                f"the fields must stay finite, they are not at step {bad.step} (time {bad.time:g}); look at the application",
                bad.step,
                bad.time,
                (),
            )
        interval = (moments[-1].time - moments[0].time) / (len(moments) - 1)
        for n, moment in enumerate(moments):
            if abs(moment.time - moments[0].time - n * interval) > _ROUND_OFF * len(moments) * abs(
                interval
            ):
                raise CaseError(
                    f"snapshots must be equally spaced, that of step {moment.step} is at t = {moment.time:g}, expected "
                    f"{moments[0].time + n * interval:g}; give sampling.interval and let steps end at those times"
                )

    def _pause_loop(self) -> None:
        """End the stage of the time loop, which the application's own work belongs to."""
        if self._loop_stage is not None and self._sampler is not None:
            self._loop_stage.steps = self._known_fields().step
            self._loop_stage.sampled = self._sampler.taken * self._sampler.snapshot_bytes
        self._loop_stage = None
        self._loop.close()

    def _components(self, name: str) -> slice:
        first = 0
        for known, components in self._known_fields().sizes.items():
            if known == name:
                return slice(first, first + components)
            first += components
        names = ", ".join(self._known_fields().sizes)
        raise CaseError(
            f"a field must be one of those registered ({names}), got {name!r}; correct it"
        )

    def _first_result(self) -> SplitResult:
        if not self._results:
            raise CaseError("results come with learning, nothing has been learnt; call learn first")
        return self._results[self.case.learning.splits[0]]

    @property
    def device(self) -> Device:
        """Where the fields are."""
        return self._known_fields().device

    def laid_out_as(self, name: str, array: Any) -> Tensor:
        """Return the own points, ``(components, *points)``, of an array that is laid out as a registered field.

        Raises
        ------
        CaseError
            The array does not fit, or there is no such field.
        """
        self._components(name)
        return self._known_fields().laid_out_as(name, array).view

    @property
    def _report(self) -> Report:
        if self.report is None:
            raise CaseError("nothing is registered; register a field first")
        return self.report

    def _known_fields(self) -> Fields:
        if self._fields is None or not self._fields.components:
            raise CaseError("nothing is registered; register a field first")
        return self._fields

    def _require_open(self) -> None:
        if not self.is_open:
            raise CaseError("the run has ended; start another")


def _device_of(array: Any) -> str:
    """Return the name of the device on which an array is."""
    if hasattr(array, "device_name"):
        return array.device_name
    kind, number = array.__dlpack_device__()
    names = {1: "cpu", 2: f"CUDA:{number}", 10: f"HIP:{number}"}
    if kind not in names:
        raise CaseError(
            f"a field must be on the host or on a CUDA or HIP GPU, its DLPack device is ({kind}, {number}); move it there"
        )
    return names[kind]


def _is_alike(one: Grid, other: Grid) -> bool:
    spans = zip(one.extent, other.extent, strict=False)
    return one.points == other.points and all(
        math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)
        for pair in spans
        for a, b in zip(*pair, strict=True)
    )


def _whole(ratio: float) -> int:
    return math.floor(ratio * (1 + _ROUND_OFF))

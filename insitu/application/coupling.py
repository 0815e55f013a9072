"""The pipeline of an application that steps itself: it shows its fields, tells each step, and reads results back."""

import os
import time as clock
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from jaxtyping import Float
from torch import Tensor

from insitu.application.blocks import declared, placed
from insitu.application.fields import Fields, device_of
from insitu.application.recording import Answer, Recording
from insitu.application.results import Results
from insitu.bridge import on_stream, torch_device
from insitu.collectives import together
from insitu.config import CaseError, load_application_case
from insitu.forecasting import SplitResult
from insitu.report import (
    Report,
    prepare_folder,
    provenance,
    save_field,
    save_online,
    save_snapshots,
    save_split,
)
from insitu.timing import Ledger
from solver import Device, Grid, Moment

__all__ = ["InSitu"]


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
        # A communicator of its own: no message of the application is taken for one of these.
        self.comm = None if comm is None else comm.Dup()
        prepare_folder(self.folder, self.comm)
        self._device_name = device
        self._grid: Grid | None = self.case.grid
        self._fields: Fields | None = None
        self._recording: Recording | None = None
        self._answer: Answer | None = None
        self._results = Results(self.case.learning)
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
            own = declared(self.case.grid, grid, begin, points)
        self._grid = placed(own, self.comm)

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
        self._fields_for(name, array).register(name, array, components, ghost)

    def register_target(
        self, name: str, array: Any, components: int = 1, ghost: int | Sequence[int] = 0
    ) -> None:
        """Show the array into which the case's closure writes its field; see `register`, after which this comes.

        It is no part of snapshots. `update` fills it for the initial state, `step` after every ``closure.every`` steps.
        """
        self._fields_for(name, array).register_target(name, array, components, ghost)

    def _fields_for(self, name: str, array: Any) -> Fields:
        with together(self.comm):
            self._require_open()
            if self._recording is not None:
                raise CaseError(
                    f"fields are registered before the first step, got {name} after it; register it earlier"
                )
            if self._grid is None:
                raise CaseError("the whole grid must be known; declare it, or give the case a grid")
            if self._fields is None:
                device = Device.open(self._device_name or device_of(array))
                torch_device(device)
        if self._fields is None:
            self._fields = Fields(device, self._grid, self.comm, self.case.equation)
            self._ledger = Ledger(device, self.case.transfers, self._fields.comm)
            self.report = Report(self._resolved, provenance(device))
        return self._fields

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
            What fails on one rank where a snapshot is due or a closure acts is raised on all of them.
        """
        start = clock.perf_counter()
        self._require_open()
        recording, fields = self._begun()
        number = fields.step + 1 if step is None else step
        if number <= fields.step:
            raise CaseError(
                f"steps must be told in order, got {number} after {fields.step}; count them up"
            )
        due = recording.tell(Moment(number, time))
        if self._answer is not None:
            if number % self._answer.every == 0:
                self._answer.update()
            due = min(due, (number // self._answer.every + 1) * self._answer.every)
        self.seconds += clock.perf_counter() - start
        return due

    def update(self) -> None:
        """Let the case's closure write its field for the fields as they are; `step` does it after every so many steps.

        Raises
        ------
        CaseError
            The case has no closure, or no target is registered for it.
        """
        self._require_open()
        self._begun()
        if self._answer is None:
            raise CaseError("the case must have a closure, it has none; give it one")
        self._answer.update()

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
        recording, fields = self._begun()
        return self._results.learn(recording, fields, self._report, self._ledger)

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
        return self._results.forecast(self._known_fields(), ahead, name)

    def coefficients(self) -> Float[Tensor, " rank"]:
        """Return the newest snapshot's coefficients in the basis, the same on every rank, on the fields' device.

        Raises
        ------
        CaseError
            Nothing has been learnt yet.
        """
        return self._results.first.coefficients[-1]

    def finish(self) -> Report:
        """Learn, write the run directory as `insitu run` does, and let the application's memory go.

        Results can still be read afterwards.
        """
        self._require_open()
        fields = self._known_fields()
        try:
            recording = self._begun()[0]
            recording.end()
            self.learn()
            sampler, ledger = recording.sampler, self._ledger
            with on_stream(fields.device), ledger.stage("report"):
                save_field(self.folder, fields, sampler, ledger)
                save_split(self.folder, fields, sampler.moments, self._results.first, ledger)
                if recording.online:
                    save_online(self.folder, recording.online)
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
        if self.report is None or self._fields is None or not self._fields.registered:
            self.is_open = False
            return
        self.report.fail(error)
        fields = self._known_fields()
        if self._recording is not None and isinstance(error, Exception):
            save_snapshots(self.folder, fields, self._recording.sampler)
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
        self.is_open = False
        fields, recording, report = self._known_fields(), self._recording, self._report
        if recording is not None:
            recording.pause()
            report.online = recording.online.summary() if recording.online else {}
            report.driver = self._answer.summary() if self._answer else {}
            report.finish(self.folder, fields, recording.sampler, self._ledger)
            report.show(self.folder, fields)
        self._answer = None
        fields.release()

    def _begun(self) -> tuple[Recording, Fields]:
        """Return recording and fields; the first call fixes what is registered."""
        fields = self._known_fields()
        if self._recording is None:
            self._require_target(fields)
            self._recording = Recording(self.case, fields, self._ledger)
        return self._recording, fields

    def _require_target(self, fields: Fields) -> None:
        settings, target = self.case.closure, fields.target
        if (settings is None) != (target is None):
            there, missing = ("closure", "target") if target is None else ("target", "closure")
            raise CaseError(
                f"a closure and its target belong together, got a {there} without a {missing}; give both or neither"
            )
        if settings is not None and target is not None:
            model = settings.ready(fields.device)
            self._answer = Answer(model, fields, target.view, settings.every)

    def note_moved(self, name: str | None) -> None:
        """Note that a field's memory is gone, on this rank; the next snapshot is refused on all of them."""
        self._known_fields().moved = name

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
        self._known_fields().components_of(name)
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

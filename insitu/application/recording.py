"""What happens to an application's steps: snapshots, training beside them, and a model that answers with a field."""

import contextlib
import copy
import math
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from insitu.application.blocks import Part
from insitu.application.fields import Fields
from insitu.application.times import SampleTimes
from insitu.bridge import on_stream
from insitu.collectives import together
from insitu.config import ApplicationCase, CaseError
from insitu.locality import FieldModel
from insitu.online.run import OnlineRun
from insitu.reduction import POD, StreamingPOD
from insitu.sampler import Sampler
from insitu.timing import Ledger
from solver import Moment

__all__ = ["Answer", "Recording"]


class Recording:
    """The steps of an application from the first one told on.

    Parameters
    ----------
    case : ApplicationCase
    fields : Fields
        All that will be registered.
    ledger : Ledger
        Has the stage "time loop" open while the application steps, the application's own work included.

    Attributes
    ----------
    sampler : Sampler
    online : OnlineRun or None
        What is trained while the application runs.

    Raises
    ------
    CaseError
        The case does not say how many snapshots are held, or asks for what an application cannot have.
    """

    def __init__(self, case: ApplicationCase, fields: Fields, ledger: Ledger):
        self._fields, self._ledger = fields, ledger
        self._times = SampleTimes(case.sampling, case.time)
        self._reduction = copy.copy(case.learning.reduction)
        planned = self._times.planned
        window = case.sampling.window or planned
        if window is None:
            raise CaseError(
                "an application's case must say how many snapshots are held, got none of sampling.window, time.steps and "
                "time.until; give sampling.window"
            )
        if isinstance(self._reduction, StreamingPOD) and planned is None:
            raise CaseError(
                "a StreamingPOD must know how many snapshots the application takes, got no time; give the case time.steps"
            )
        with ledger.stage("setup"):
            window = window if planned is None else min(window, planned)
            size, every = math.prod(fields.u.shape), self._times.every
            self.sampler = Sampler(fields.device, size, window, every, str(fields.dtype))
            self.online = OnlineRun(case.online, fields, self.sampler) if case.online else None
        self.sampler.on_turn = self._pass_on
        self._moment: Moment | None = None
        self._training = self.online.beside(self._told()) if self.online else None
        self._stage: Any = None
        self._open = contextlib.ExitStack()

    def tell(self, moment: Moment) -> int:
        """Take what a finished step is due for; return the number of the next step that must be told."""
        fields, sampler = self._fields, self.sampler
        if self._stage is None:
            self._stage = self._open.enter_context(self._ledger.stage("time loop"))
        fields.reach(moment)
        if self._times.is_due(moment, sampler.taken):
            sampler.turn_if_full()
            with together(fields.comm), on_stream(fields.device):
                fields.require_memory()
                sampler.take(fields.views, moment)
            self._moment = moment
            self._train()
        return self._times.next_after(moment.step)

    def pause(self) -> None:
        """End the stage of the time loop; the next step goes on with it."""
        if self._stage is not None:
            self._stage.steps = self._fields.step
            self._stage.sampled = self.sampler.taken * self.sampler.snapshot_bytes
        self._stage = None
        self._open.close()

    def end(self) -> None:
        """End the training: its last look at the pairs held out."""
        self._moment = None
        self._train()

    def reduction(self) -> POD:
        """Return the reduction as it is before it sees the snapshots held.

        Raises
        ------
        CaseError
            A StreamingPOD has been shown what the ring still holds.
        """
        planned, taken = self._times.planned, self.sampler.taken
        if isinstance(self._reduction, StreamingPOD) and taken != planned:
            raise CaseError(
                f"with a StreamingPOD an application learns at its end, after {planned} snapshots, got {taken}; match the case's "
                "time to the application, or take a POD"
            )
        return copy.copy(self._reduction)

    def _told(self) -> Iterator[Moment]:
        while self._moment is not None:
            yield self._moment

    def _train(self) -> None:
        if self._training is not None:
            with on_stream(self._fields.device):
                next(self._training, None)

    def _pass_on(self) -> None:
        """Show a streaming reduction what a full ring is about to overwrite; see `insitu.pipeline`."""
        planned = self._times.planned
        if planned is None or not isinstance(self._reduction, StreamingPOD):
            return
        leaving = min(self.sampler.window, planned - self.sampler.taken)
        if leaving > 0:
            with on_stream(self._fields.device):
                snapshots = self.sampler.snapshots[:leaving]
                self._reduction.partial_fit(snapshots, comm=self._fields.comm)


class Answer:
    """A model's field in the application's own memory, found from the fields as they are.

    Parameters
    ----------
    model : torch.nn.Module
        Maps the state, (batch, components, *points), to the field; where ranks share the grid it must see no further than it
        says, see `insitu.FieldModel`.
    fields : Fields
    target : Tensor
        The application's own points, ``(components, *points)``, on the fields' device.
    every : int
        Steps between two evaluations.

    Raises
    ------
    CaseError
        Ranks share the grid in blocks of whose neighbours nothing is known.
    """

    def __init__(self, model: nn.Module, fields: Fields, target: Tensor, every: int):
        if isinstance(fields.grid, Part):
            raise CaseError(
                f"a closure on ranks needs blocks as solver.Decomposition cuts them, got {list(fields.grid.points)} points from "
                f"{list(fields.grid.begin)} on; cut the grid so, or leave the closure out"
            )
        self.every = every
        self.evaluations = 0
        self._fields, self._target = fields, target
        self._model = FieldModel(model, fields.device, fields.grid)

    def update(self) -> None:
        """Evaluate the model and write its field; all ranks call it."""
        self.evaluations += 1
        with together(self._fields.comm):
            self._fields.require_memory()
        with on_stream(self._fields.device):
            self._model(self._fields.state(), into=self._target)

    def summary(self) -> dict[str, Any]:
        """Return what ``report.json`` has of it."""
        return {"closure": {"evaluations": self.evaluations, "every": self.every}}

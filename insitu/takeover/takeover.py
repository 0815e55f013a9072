"""A simulation whose steps a surrogate takes where the solver's kernels find it right."""

import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor

from insitu.bridge import as_torch
from insitu.locality import FieldModel
from insitu.sampler import Sampler
from insitu.surrogates import Surrogate
from insitu.takeover.account import Account
from insitu.takeover.control import Control, Trainer
from insitu.takeover.decisions import Decision, Decisions, Kind
from insitu.takeover.interval import Interval, norms
from insitu.takeover.twin import Twin
from solver import Moment, Simulation

__all__ = ["Takeover"]

_DIVIDES = 1e-6  # relative; an interval that so many steps fit this well is made of them
_BETTER = 0.5  # times the error of a rejected surrogate is worth another proposal
_MEASURED = 8  # bursts of the solver between two measurements of the growth rate


class Takeover:
    """Advances a simulation, by a surrogate where its proposals stand the test, else by the solver.

    A proposal of one interval is tested by the equation's own kernels, see `Interval`. Where the `Account` affords its defect,
    the state is replaced in place and step and time go on; where not, nothing was touched, and the solver takes 1, 2, 4, ...
    intervals until the next proposal. The first proposal that passes, and one after every ``ahead`` accepted ones, is compared
    with what the solver makes of the same state, which is kept; that corrects the account where it was too hopeful and measures
    how errors grow. Every decision is logged.

    Call it inside ``with on_stream(device)``. Of an ensemble all members together are one state: they are taken over together,
    and the error is over all of them.

    Parameters
    ----------
    simulation : Simulation
        With a constant time step. All ranks that share it make the same calls.
    surrogate : Surrogate
        Without parameters. A member of an ensemble is one of its batch. Where ranks share the grid it goes through `FieldModel`,
        so its core must be local.
    control : Control
    trainer : Trainer, optional
        Is fed with what the solver does. Without one the surrogate stays what it is.
    sampler : Sampler, optional
        Gets its snapshots; those within an interval that was taken over are of the cubic whose defect was tested.

    Attributes
    ----------
    account : Account
    decisions : Decisions

    Raises
    ------
    ValueError
        The simulation's step varies, or the surrogate's interval is unknown.
    """

    def __init__(
        self,
        simulation: Simulation,
        surrogate: Surrogate,
        control: Control | None = None,
        trainer: Trainer | None = None,
        sampler: Sampler | None = None,
    ):
        self._simulation, self._trainer, self._sampler = simulation, trainer, sampler
        self._control = control = control or Control()
        self._proposer = FieldModel(surrogate, simulation.device, simulation.grid)
        self._interval_time = surrogate.interval
        if simulation.cfl is not None or not self._interval_time > 0:
            raise ValueError(
                f"takeover: expected a constant time step and a surrogate with an interval > 0, got cfl {simulation.cfl} and "
                f"{self._interval_time}; give dt instead of cfl, and set surrogate.interval"
            )
        self.account = Account(
            control.tolerance, control.safety, control.growth, control.generosity
        )
        self.decisions = Decisions(control.tolerance)
        self._interval: Interval | None = None
        self._twin = Twin(simulation)
        self._wait, self._pause, self._bursts = 0, 1, 0
        self._streak = control.ahead  # so that the first one is verified
        self._rejected_at = math.inf  # the trainer's error then
        self._end: float | None = None  # of the run, in time
        self._solving: tuple[Moment, int] | None = (
            None  # steps of the solver under way: where from, to which step
        )

    def advance(self, until: float | None = None, steps: int | None = None) -> None:
        """Advance to a time or by a number of steps; see `solver.Simulation.advance`."""
        for _ in self.follow(until, steps):
            pass

    def follow(
        self, until: float | None = None, steps: int | None = None, since: Moment | None = None
    ) -> Iterator[Moment]:
        """Advance and yield the moment after each decision, and in the midst of long ones of the solver.

        ``since`` is the moment at which this was first called, of a run restored in the midst of it.

        Raises
        ------
        ValueError
            The surrogate's interval is not a multiple of the time step.
        DivergenceError
            See `solver.Simulation.advance`.

        Warns
        -----
        RuntimeWarning
            The error may be above the tolerance at the end; ``decisions.violated`` says it too.
        """
        simulation = self._simulation
        if since is None or self._end is None:
            segments = list(simulation.plan(until, steps, since))
            self._end = simulation.time + sum(dt * count for dt, count in segments)
        for number, (dt, count) in enumerate(simulation.plan(until, steps, since)):
            last = simulation.step + count
            interval = None if number else self._prepared(dt)
            while simulation.step < last:
                if self._solving is not None:
                    yield from self._go_on(dt)
                elif interval is None:  # the rest of a dt that does not divide the time
                    self._solve(dt, last - simulation.step)
                else:
                    self._decide(interval, dt, last - simulation.step, self._end)
                    if self._solving is None:
                        yield simulation.moment
            if self._solving is not None and self._solving[1] <= last:
                yield from self._go_on(dt)
        simulation.check()
        (size,) = norms(simulation.comm, as_torch(simulation.u))
        self.decisions.violated = self.account.exceeds(size)
        if self.decisions.violated and simulation.ranks.rank == 0:
            warnings.warn(
                f"takeover: the final state is expected within {self._control.tolerance:g} of the solver's, its error may be "
                f"{self.account.error / size:.3g}; lower the tolerance or give a growth rate, and see the log of decisions",
                RuntimeWarning,
                stacklevel=2,
            )

    def summary(self) -> dict[str, Any]:
        """Return the log of decisions as plain values, as ``report.json`` has it."""
        return {"takeover": self.decisions.as_dict()}

    def state_dict(self) -> dict[str, Any]:
        """Return what `follow` goes on from: surrogate, account, log of decisions, twin, trainer; tensors are not copied."""
        solving = self._solving
        return {
            "surrogate": self._proposer.module.state_dict(),
            "account": self.account.state_dict(),
            "decisions": [asdict(entry) for entry in self.decisions.entries],
            "waits": [self._wait, self._pause, self._bursts, self._streak, self._rejected_at],
            "end": self._end,
            "solving": None if solving is None else [*solving[0], solving[1]],
            "twin": self._twin.state_dict(),
            "interval": None if self._interval is None else self._interval.state_dict(),
            "trainer": None if self._trainer is None else self._trainer.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned, with this rank's part of what ranks share; all ranks call it."""
        self._proposer.module.load_state_dict(state["surrogate"])
        self.account.load_state_dict(state["account"])
        self.decisions.entries[:] = [Decision(**entry) for entry in state["decisions"]]
        self._wait, self._pause, self._bursts, self._streak, self._rejected_at = state["waits"]
        self._end, self._solving = state["end"], None
        if state["solving"] is not None:
            step, time, last = state["solving"]
            self._solving = Moment(step, time), last
        self._twin.load_state_dict(state["twin"])
        if state["interval"] is not None:
            self._interval = self._prepared(state["interval"]["dt"])
            self._interval.load_state_dict(state["interval"])
        if self._trainer is not None:
            self._trainer.load_state_dict(state["trainer"])
        if any(entry.kind != "solved" for entry in self.decisions.entries):
            self._proposer(self._batch())  # makes ready what its first call on ranks needs

    def _prepared(self, dt: float) -> Interval:
        """Return the interval of a time step; the one of an earlier call where it is the same."""
        lead = round(self._interval_time / dt)
        if lead < 1 or abs(lead * dt - self._interval_time) > _DIVIDES * self._interval_time:
            raise ValueError(
                f"takeover: expected a surrogate.interval that is a multiple of the time step {dt:g}, got "
                f"{self._interval_time:g}; give the simulation a dt that divides it"
            )
        if self._interval is None or self._interval.dt != dt:
            relaxation = math.ceil(self._control.relaxation * lead)
            self._interval = Interval(self._simulation, dt, lead, relaxation)
        return self._interval

    def _decide(self, interval: Interval, dt: float, count: int, end: float) -> None:
        if self._error() < _BETTER * self._rejected_at:
            self._wait, self._pause = 0, 1
        if self._wait or count < interval.steps or not self._is_promising():
            intervals, self._wait = max(1, self._wait), 0
            self._solve(dt, min(count, intervals * interval.lead), interval.lead)
            return
        simulation, account = self._simulation, self.account
        proposal = self._proposer(self._batch())
        defect, size = interval.test(proposal.view(interval.end.shape))
        duration = interval.steps * dt
        left = max(0.0, end - simulation.time - duration)
        if not account.affords(defect, size, duration, left):
            self._log("rejected", simulation.moment, 0, defect, size)
            self._wait, self._pause = self._pause, 2 * self._pause
            self._rejected_at = self._error()
            return
        self._pause = 1
        if self._streak >= self._control.ahead:
            self._verify(interval, dt, defect)
            self._streak = 0
        else:
            self._take_over(interval, dt, defect, size)
            self._streak += 1

    def _take_over(self, interval: Interval, dt: float, defect: float, size: float) -> None:
        begin = self._simulation.moment
        if self._sampler is not None:
            for n in range(1, interval.steps + 1):
                moment = Moment(begin.step + n, begin.time + n * dt)
                if self._sampler.due(moment):
                    self._sampler.take(interval.at(n), moment)
        interval.take_over()
        self.account.spend(defect, interval.steps * dt)
        self.account.note_size(size, interval.steps * dt)
        self._log("accepted", begin, interval.steps, defect, size)

    def _verify(self, interval: Interval, dt: float, defect: float) -> None:
        """Let the solver take the interval, and compare."""
        simulation = self._simulation
        begin = simulation.moment
        self._twin.depart(dt, interval.steps)
        self._learn_from(dt, interval.lead)
        self._march(dt, interval.steps - interval.lead)
        self._note_growth()
        u = as_torch(simulation.u)
        difference = interval.end.sub_(u)
        error, size = norms(simulation.comm, difference, u)
        self.account.wait(interval.steps * dt)
        was_low = self.account.correct(error, defect)
        self.account.note_size(size, interval.steps * dt)
        self._twin.take_in(difference, error)
        kind: Kind = "underestimated" if was_low else "verified"
        self._log(kind, begin, interval.steps, defect, size, error)

    def _solve(self, dt: float, steps: int, lead: int | None = None) -> None:
        """Let the solver take the steps, and feed the trainer with the first intervals of them."""
        simulation = self._simulation
        begin, left = simulation.moment, steps
        is_measured = lead is not None and self.account.error > 0 and self._bursts % _MEASURED == 0
        self._bursts += 1
        if is_measured and lead is not None:
            first = min(lead, left)
            self._twin.depart(dt, first)
            self._march(dt, first)
            self._note_growth()
            left -= first
        for _ in range(self._control.fed if self._trainer is not None and lead else 0):
            if lead is None or left < lead:
                break
            self._learn_from(dt, lead)
            left -= lead
        self._solving = begin, begin.step + steps

    def _go_on(self, dt: float) -> Iterator[Moment]:
        """Let the solver take the rest of the steps that were decided for it, and take account of all of them."""
        simulation = self._simulation
        if self._solving is None:
            return
        begin, last = self._solving
        for moment in self._marching(dt, last - simulation.step):
            if moment.step < last:
                yield moment
        self._solving = None
        (size,) = norms(simulation.comm, as_torch(simulation.u))
        duration = (last - begin.step) * dt
        self.account.wait(duration)
        self.account.note_size(size, duration)
        self._log("solved", begin, last - begin.step, None, size)
        yield simulation.moment

    def _learn_from(self, dt: float, lead: int) -> None:
        if self._trainer is None:
            self._march(dt, lead)
            return
        before = self._batch().clone()
        self._march(dt, lead)
        self._trainer.offer(before, self._batch().clone())

    def _batch(self) -> Tensor:
        """Return a view of the present state, (batch, components, *points); a batch of one where there is no ensemble."""
        u = as_torch(self._simulation.u)
        return u[None] if self._simulation.members is None else u

    def _march(self, dt: float, steps: int) -> None:
        for _ in self._marching(dt, steps):
            pass

    def _marching(self, dt: float, steps: int) -> Iterator[Moment]:
        if self._sampler is not None:
            yield from self._sampler.record(self._simulation, dt, steps)
        else:
            self._simulation.take(dt, steps)
            yield self._simulation.moment

    def _note_growth(self) -> None:
        rate = self._twin.compare()
        if rate is not None:
            self.account.measure(rate)

    def _error(self) -> float:
        error = None if self._trainer is None else self._trainer.error
        return math.inf if error is None else error

    def _is_promising(self) -> bool:
        """Whether the trainer thinks that a proposal is worth its price."""
        if self._trainer is None:
            return True
        limit = self._control.promising
        limit = self._control.tolerance / 10 if limit is None else limit
        return self._error() <= limit

    def _log(
        self,
        kind: Kind,
        begin: Moment,
        steps: int,
        defect: float | None,
        size: float,
        true_error: float | None = None,
    ) -> None:
        account = self.account
        self.decisions.entries.append(
            Decision(
                kind,
                begin.step,
                begin.time,
                steps,
                None if defect is None else defect / size,
                None if true_error is None else true_error / size,
                account.error / size if size else 0.0,
                account.rate,
                account.safety,
            )
        )

"""A simulation: one equation advanced on one device."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from solver._occa import Memory
from solver.device import Device
from solver.equations import Equation
from solver.errors import DivergenceError, ParameterError, ShapeError
from solver.field import Field
from solver.finite import FiniteCheck
from solver.grid import Grid
from solver.precision import real_type
from solver.ranks import Ranks
from solver.recorder import NOTHING, Moment, Recorder, Recording
from solver.sharing import share
from solver.steppers import method_of

SAFETY = 0.9  # of the stability limit, where no time step is given
_CHECK_WORK = 1 << 28  # point updates between two looks for non-finite values
_CHECK_LEAST = 100  # steps
_CFL_STEPS = 8
_WATCHED = 1 << 20  # values of a rank from which on passes look at what they write


class Simulation:
    """An equation on a grid, with its state on the device.

    Parameters
    ----------
    device : Device
    grid : Grid
    equation : Equation
    initial : str, callable or array
        A name of `solver.initial.INITIAL`, a function of the coordinate arrays, or values of shape
        ``([members,] components, *points)``; without the axis of members all start alike.
    dt : float, optional
        Time step. Without it, 0.9 of the stability limit for max|u₀|, shortened to reach each ``until`` in equal steps.
    dtype : {"float64", "float32"}
    force : bool
        Accept a ``dt`` above the stability limit.
    method : str, optional
        Runge-Kutta method, see `solver.steppers.METHODS`; the equation's own where it is left out.
    cfl : float, optional
        Instead of ``dt``: this fraction of the stability limit for the present max|u|, looked at every 8 steps.
    members : int, optional
        Size of the ensemble where no parameter of the equation says it.
    comm : mpi4py.MPI.Comm, optional
        The ranks that share the simulation. All of them make the same calls, with the same values; no result depends on their
        number.
    ranks : sequence of int, optional
        Ranks along each axis; chosen where they are left out, see `solver.sharing.share`.
    overlap : bool, optional
        Whether to advance what needs no other rank's points while messages are on their way; where it is left out, on GPUs.

    Attributes
    ----------
    grid : Grid
        This rank's `Block`, or the whole grid where no other rank shares it.
    members : int or None
        This rank's members of the ensemble.
    comm : mpi4py.MPI.Comm or None
        The ranks that share the simulation, None where this one is alone.
    share : Share
        Which of the members and which block they are.
    shares : list of dict
        The same of every rank: "members" (first, last + 1), "begin" and "points" of the block.
    u : Field
        The state of this rank's members on its block, shape ``([members,] components, *points)``, on the device; its memory never
        moves.
    fields : dict of str to Memory
        The equation's auxiliary fields on the device, of the same block, for anyone to write between two advances.
    step : int
        Steps taken.
    time : float
        Simulated time.
    work : int
        Values that a step computes on a rank, of all ranks the same: their mean.
    limit : float
        The stability limit of Δt for the initial values.

    Raises
    ------
    ParameterError
        A parameter outside its range, or ``dt`` above the stability limit.
    """

    def __init__(
        self,
        device: Device,
        grid: Grid,
        equation: Equation,
        initial: Any = "sin",
        dt: float | None = None,
        dtype: str = "float64",
        force: bool = False,
        method: str | None = None,
        cfl: float | None = None,
        members: int | None = None,
        comm: Any = None,
        ranks: Sequence[int] | None = None,
        overlap: bool | None = None,
    ):
        real_type(dtype)
        self.device, self.equation = device, equation
        total = _one_size(equation.members, members)
        self.ranks = Ranks(comm)
        self.comm = comm if self.ranks.size > 1 else None
        self.share = share(
            grid, total, comm, ranks, not device.is_host if overlap is None else overlap
        )
        self.grid = self.share.grid
        self.shares: list[dict[str, list[int]]] = self.ranks.all(self.share.as_numbers())
        self.members = None if total is None else self.share.end - self.share.begin
        self.method = method_of(method or equation.method)
        values = equation.evaluate(initial, self.grid, total)
        speed = self.ranks.largest(float(np.abs(values).max()))
        self.limit = equation.stable_time_step(grid, speed, self.method)
        self.dt = _require_stable(dt, self.limit, force)
        self.cfl = _require_cfl(cfl, dt)
        if total is not None:
            values = values[self.share.begin : self.share.end]
            equation = equation.share(self.share.begin, self.share.end)
        grid = self.grid
        self.discretization = equation.discretize(device, grid, self.method, dtype, self.members)
        self.fields = self.discretization.fields
        self.work = -(
            -(total or 1) * equation.components(grid) * grid.whole.size // self.ranks.size
        )
        self._is_watched = self.discretization.is_watchful and self.work >= _WATCHED
        self.u = self._field(dtype)
        self._last_good = None if self._is_watched else self._field(dtype)
        self.u.set(values)
        self.discretization.admit(self.u)
        self.step, self.time = 0, 0.0
        if self.dt is not None:
            self.discretization.prepare(self.u, self.dt, self.time)
        self._run_start, self._run_dt = self.moment, math.nan
        self._is_stale = False
        self._history: list[
            list[Any]
        ] = []  # [dt, steps] since the state was last found finite, in order
        self._recorder: Recorder | None = None  # of the last steps
        self._finite = FiniteCheck(device, self.u)
        work = math.ceil(self.work * self.discretization.effort)
        self._check_every = max(_CHECK_LEAST, _CHECK_WORK // work)
        self._copy_good()
        self._mark_good()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the state of all members on the whole grid, ``([members,] components, *points)``."""
        members = () if self.members is None else (self.share.members,)
        return (*members, self.u.components, *self.grid.whole.points)

    @property
    def dt_taken(self) -> float | None:
        """The length of the last step, None before the first."""
        return None if math.isnan(self._run_dt) else self._run_dt

    @property
    def moment(self) -> Moment:
        """Where the simulation stands."""
        return Moment(self.step, self.time)

    def advance(
        self, until: float | None = None, steps: int | None = None, recorder: Recorder | None = None
    ) -> None:
        """Advance, many steps a launch where the state fits on chip, and check the result.

        Parameters
        ----------
        until : float, optional
            Simulated time to reach exactly; the last step is shortened where a given ``dt`` does not divide the rest.
        steps : int, optional
            Steps to take. With both, whichever ends first.
        recorder : Recorder, optional
            Filled with snapshots on the way.

        Raises
        ------
        DivergenceError
            The state is no longer finite. It is set back to the last finite step, and so is the recorder; where values
            written from outside were the cause, to the last check, or to where they were found in a large state on the host.
        """
        for dt, count in self.plan(until, steps):
            self.take(dt, count, recorder)
        self._settle(recorder)

    def steps(
        self, until: float | None = None, steps: int | None = None, every: int = 1
    ) -> Iterator[Moment]:
        """Advance and yield the moment after every ``every`` steps and after the last.

        Finiteness is checked every 2²⁸ point updates and at the end, not at every moment; see `advance` for the errors.
        """
        if every < 1:
            raise ParameterError(f"every must be 1 or more steps, got {every}; correct it")
        for dt, count in self.plan(until, steps):
            while count:
                burst = min(every - self.step % every, count)
                self.take(dt, burst)
                count -= burst
                if self.step % every == 0:
                    yield self.moment
        self.check()
        if self.step % every:
            yield self.moment

    def check(self, recorder: Recorder | None = None) -> None:
        """Look for non-finite values now.

        Raises
        ------
        DivergenceError
            Naming the first step, its time and the first point that is not finite.
        """
        if self.step == self._checked:
            return
        if self._is_bad():
            self._locate_divergence(recorder)
        self._mark_good()

    def plan(
        self, until: float | None = None, steps: int | None = None, since: Moment | None = None
    ) -> Iterator[tuple[float, int]]:
        """Yield the (dt, count) runs of equal steps by which `advance` gets there; take each before asking for the next.

        With ``since`` the plan is the one made at that moment, where ``steps`` count from too, less the steps taken since: a
        simulation that was restored in the midst of it takes the very steps that it would have taken.
        """
        if until is None and steps is None:
            raise ParameterError(
                "advance needs until (a time) or steps (a number), got neither; give one"
            )
        if steps is not None and (
            isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 0
        ):
            raise ParameterError(
                f"steps must be an integer of 0 or more, got {steps!r}; correct it"
            )
        self._arrive(until, self._run_dt)
        begin = since or self.moment
        if until is not None and not (math.isfinite(until) and until >= begin.time):
            raise ParameterError(
                f"until must be a time from {begin.time:g} on, got {until!r}; time runs forward"
            )
        if self.cfl is not None:
            return self._plan_by_cfl(self.cfl, until, steps, begin)
        return self._in_turn(self._plan(until, steps, begin.time), until, self.step - begin.step)

    def _in_turn(
        self, segments: list[tuple[float, int]], until: float | None, taken: int
    ) -> Iterator[tuple[float, int]]:
        for dt, count in segments:
            before = min(count, taken)
            taken -= before
            yield dt, count - before
            self._arrive(until, dt)

    def _arrive(self, until: float | None, dt: float) -> None:
        """Take off the round-off of adding up."""
        if until is not None and abs(until - self.time) < 1e-9 * dt:
            self.time = until

    def _plan(
        self, until: float | None, steps: int | None, begin: float
    ) -> list[tuple[float, int]]:
        if until is None:
            return [(self.dt or SAFETY * self.limit, int(steps or 0))]
        rest = until - begin
        if self.dt is None:
            count = math.ceil(rest / (SAFETY * self.limit) * (1 - 1e-12))
            segments = [(rest / count, count)] if count else []
        else:
            count = math.floor(rest / self.dt * (1 + 1e-12))
            last = rest - count * self.dt
            segments = (
                [(self.dt, count), (last, 1)] if last > 1e-9 * self.dt else [(self.dt, count)]
            )
        return _truncated(segments, steps)

    def _plan_by_cfl(
        self, cfl: float, until: float | None, steps: int | None, begin: Moment
    ) -> Iterator[tuple[float, int]]:
        last = math.inf if steps is None else begin.step + int(steps)
        while self.step < last and (until is None or self.time < until):
            speed = self.ranks.largest(self._finite.largest())
            if not math.isfinite(speed):
                self.check(self._recorder)
                raise _divergence(self.moment, self._first_bad_point(), True, self.limit)
            dt = cfl * self.equation.stable_time_step(self.grid.whole, speed, self.method)
            count = int(min(_CFL_STEPS, last - self.step))
            if until is not None and self.time + count * dt >= until:
                count = min(count, math.ceil((until - self.time) / dt * (1 - 1e-12)))
                dt = (until - self.time) / count
            yield dt, count
            self._arrive(until, dt)

    def take(self, dt: float, count: int, recorder: Recorder | None = None) -> None:
        """Take ``count`` steps of length ``dt``, looking for non-finite values every 2²⁸ point updates; see `advance`."""
        while count:
            burst = min(count, max(1, self._checked + self._check_every - self.step))
            self._burst(dt, burst, recorder)
            count -= burst
            if self.step - self._checked >= self._check_every:
                self._settle(recorder)

    def leap(self, dt: float, steps: int) -> None:
        """Take what someone wrote into `u` for the state ``steps`` steps of ``dt`` from here.

        Raises
        ------
        DivergenceError
            It is not finite; step and time stay.
        """
        if self._is_bad():
            raise _divergence(self.moment, self._first_bad_point(), True, self.limit)
        if dt != self._run_dt:
            self._run_start, self._run_dt = self.moment, dt
        self.step += steps
        self.time = self._run_start.time + (self.step - self._run_start.step) * dt
        self._mark_good()

    def memories(self) -> dict[str, Memory]:
        """Return the device memory that the next steps depend on, by name, this rank's members and points of it.

        "u", the auxiliary fields as "fields.forcing", and what the equation remembers, as "equation.pressure"; each of shape
        ``([members,] components, *points)``, or ``points`` where it is one component of one solution.
        """
        fields = {f"fields.{name}": memory for name, memory in self.fields.items()}
        own = {
            f"equation.{name}": memory for name, memory in self.discretization.memories().items()
        }
        return {"u": self.u.memory, **fields, **own}

    def numbers(self) -> dict[str, Any]:
        """Return the numbers that the next steps depend on beside `memories`, the same on every rank."""
        return {
            "step": self.step,
            "time": self.time,
            "run": [*self._run_start, self._run_dt],
            "checked": self._checked,
            "is_stale": self._is_stale,
            "is_in_run": bool(self._history),
            "equation": self.discretization.numbers(),
        }

    def restore(self, numbers: Mapping[str, Any]) -> None:
        """Go on from where another simulation of the same case was; all ranks call it, on any number of them.

        Its `memories` have been written into this one's before; this state is the last good one now.

        Parameters
        ----------
        numbers
            What `numbers` returned there.
        """
        self.step, self.time = numbers["step"], numbers["time"]
        step, time, self._run_dt = numbers["run"]
        self._run_start = Moment(step, time)
        self._copy_good()
        self._mark_good()
        self._checked, self._is_stale = numbers["checked"], numbers["is_stale"]
        self._history = [[self._run_dt, 0]] if numbers["is_in_run"] else []
        self.discretization.restore(numbers["equation"])

    def is_finite(self) -> bool:
        """Return whether the state of every rank is finite; a look that changes nothing, other than `check`."""
        return not self._is_bad()

    def _burst(self, dt: float, steps: int, recorder: Recorder | None) -> None:
        if self._is_stale and not self._is_watched:
            self._keep_good()
        if dt != self._run_dt or not self._history:
            self._run_start, self._run_dt = self.moment, dt
            self._history.append([dt, 0])
        recording = self._plan_recording(recorder, steps) if recorder else NOTHING
        self._recorder = recorder
        watch = self._is_any if self._is_watched else None
        taken = self.discretization.march(self.u, dt, steps, recording, self.time, watch)
        if recorder:
            recorder.fill(self.step, taken, self._run_start, dt)
        self._history[-1][1] += taken
        self.step += taken
        self.time = self._run_start.time + (self.step - self._run_start.step) * dt
        if taken < steps:
            self._repeat([(dt, steps - taken)], recorder)

    def _plan_recording(self, recorder: Recorder, steps: int) -> Recording:
        if recorder is self._recorder:
            return recorder.plan(self.step, steps)
        into, wanted = recorder.into, (self.u.memory.size, self.u.dtype)
        if (into.shape[1], into.dtype) != wanted:
            raise ShapeError(
                f"a recorder of this simulation must have rows of {wanted[0]} {wanted[1]} values, got {into!r}; allocate it so"
            )
        return recorder.plan(self.step, steps)

    def _field(self, dtype: str) -> Field:
        """Return room for a state of this rank."""
        components = self.equation.components(self.grid)
        return Field(self.device, self.grid, components, 0, dtype, self.members)

    def _is_bad(self) -> bool:
        """Return whether any rank's state has non-finite values."""
        return self._is_any(self._finite.count() > 0)

    def _is_any(self, is_bad: bool) -> bool:
        return self.ranks.sum(is_bad) > 0

    def _settle(self, recorder: Recorder | None) -> None:
        """Check the state after steps alone: those that were watched have left it finite."""
        if self._is_watched:
            self._mark_good()
        else:
            self.check(recorder)

    def _keep_good(self) -> None:
        if self._is_bad():
            raise _divergence(self.moment, self._first_bad_point(), True, self.limit)
        self._copy_good()
        self._is_stale = False

    def _copy_good(self) -> None:
        if self._last_good is not None:
            self._last_good.copy_from(self.u)

    def _mark_good(self) -> None:
        """Note the state as finite; it is copied when the next step is about to overwrite it."""
        self._good, self._is_stale = self.moment, self.step > 0
        self._checked = self.step
        self._history = []

    def _locate_divergence(self, recorder: Recorder | None) -> None:
        """Repeat the steps since the last good state.

        Where that stays finite, someone else wrote the bad values, and the last good state is what is left.
        """
        outside = _divergence(self.moment, self._first_bad_point(), True, self.limit)
        if self._last_good is None:
            raise outside
        segments = [(dt, count) for dt, count in self._history]
        self.u.copy_from(self._last_good)
        self.step, self.time = self._good
        self._repeat(segments, recorder)
        self.u.copy_from(self._last_good)
        self.step, self.time = self._good
        self._mark_good()
        if recorder:
            recorder.forget_after(self.step)
        raise outside

    def _repeat(self, segments: list[tuple[float, int]], recorder: Recorder | None) -> None:
        """Take (dt, steps) again, and stop before the first step that gives values that are not finite."""
        if self._is_bad():
            raise _divergence(self.moment, self._first_bad_point(), True, self.limit)
        before = self._field(str(self.u.dtype))
        for dt, left in segments:
            stride, within = 1, 0  # the step looked for is one of the next so many, 0: not known
            while left:
                stride = min(stride, left)
                before.copy_from(self.u)
                self.discretization.march(self.u, dt, stride, NOTHING, self.time)
                if not self._is_bad():
                    self.step, self.time = self.step + stride, self.time + stride * dt
                    left, within = left - stride, max(0, within - stride)
                    stride = (within + 1) // 2 or 2 * stride
                elif stride > 1:
                    self.u.copy_from(before)
                    stride, within = stride // 2, stride
                else:
                    found, location = Moment(self.step + 1, self.time + dt), self._first_bad_point()
                    self.u.copy_from(before)
                    self._mark_good()
                    if recorder:
                        recorder.forget_after(self.step)
                    raise _divergence(found, location, False, self.limit)

    def _first_bad_point(self) -> tuple[float, ...]:
        values = self.u.to_host()
        bad = np.argwhere(~np.isfinite(values))
        first = None
        if len(bad):
            axes = len(self.grid.points)
            point = bad[0][-axes:] + self.grid.begin
            lead = bad[0][:-axes].tolist()
            lead[0] += 0 if self.members is None else self.share.begin
            first = (*lead, *point.tolist())
        index = self.ranks.first(first)[-len(self.grid.points) :]
        return tuple(float(axis[n]) for axis, n in zip(self.grid.whole.axes(), index, strict=True))


def _divergence(
    moment: Moment, location: tuple[float, ...], from_outside: bool, limit: float
) -> DivergenceError:
    where = f"(time {moment.time:g}) at x = {', '.join(f'{x:g}' for x in location)}"
    if from_outside:
        text = f"is not at step {moment.step} {where}, by values written from outside; correct what writes into the field"
    else:
        text = f"is not after step {moment.step} {where}; reduce dt (stability limit {limit:.3g}) or refine the grid"
    return DivergenceError(f"the solution must stay finite, it {text}", *moment, location)


def _require_stable(dt: float | None, limit: float, force: bool) -> float | None:
    if dt is None:
        return None
    if (
        isinstance(dt, bool)
        or not isinstance(dt, int | float)
        or not (math.isfinite(dt) and dt > 0)
    ):
        raise ParameterError(
            f"time dt must be a positive number, got {dt!r}; leave it out for the stability limit"
        )
    if dt > limit and not force:
        raise ParameterError(
            f"time dt must be at most the stability limit {limit:.6g}, got {dt:g}; reduce it, leave it out, or force it"
        )
    return float(dt)


def _truncated(segments: list[tuple[float, int]], steps: int | None) -> list[tuple[float, int]]:
    kept = []
    left = sum(count for _, count in segments) if steps is None else int(steps)
    for dt, count in segments:
        kept.append((dt, min(count, left)))
        left -= kept[-1][1]
    return [(dt, count) for dt, count in kept if count]


def _require_cfl(cfl: float | None, dt: float | None) -> float | None:
    if cfl is None:
        return None
    if dt is not None or isinstance(cfl, bool) or not 0 < cfl <= 1:
        raise ParameterError(
            f"time cfl must be a fraction of the stability limit, above 0 and at most 1, given instead of dt, got cfl {cfl!r} "
            f"and dt {dt!r}; correct it"
        )
    return float(cfl)


def _one_size(of_equation: int | None, asked: int | None) -> int | None:
    """Return the members of the ensemble that the equation's parameters and the caller agree on."""
    if asked is not None and (isinstance(asked, bool) or asked < 1):
        raise ParameterError(
            f"members must be 1 or more, got {asked!r}; leave it out for one solution"
        )
    if of_equation is not None and asked is not None and of_equation != asked:
        raise ParameterError(
            f"the equation's parameters must have one number for each of {asked} members, got {of_equation}; match them"
        )
    return asked if asked is not None else of_equation

"""A simulation: one equation advanced on one device."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from solver.device import Device
from solver.equations import Burgers
from solver.errors import DivergenceError, ParameterError, ShapeError
from solver.field import Field
from solver.finite import FiniteCheck
from solver.grid import Grid
from solver.initial import evaluate
from solver.recorder import NOTHING, Moment, Recorder, Recording

SAFETY = 0.9  # of the stability limit, where no time step is given
_CHECK_WORK = 1 << 26  # point updates between two looks for non-finite values
_CHECK_LEAST = 100  # steps


class Simulation:
    """An equation on a grid, with its state on the device.

    Parameters
    ----------
    device : Device
    grid : Grid
    equation : Burgers
    initial : str, callable or array
        A name of `solver.initial.INITIAL`, a function of the coordinate arrays, or values of shape ``(components, *points)``.
    dt : float, optional
        Time step. Without it, 0.9 of the stability limit for max|u₀|, shortened to reach each ``until`` in equal steps.
    dtype : {"float64", "float32"}
    force : bool
        Accept a ``dt`` above the stability limit.

    Attributes
    ----------
    u : Field
        The state, shape ``(components, *points)``, on the device; its memory never moves.
    step : int
        Steps taken.
    time : float
        Simulated time.

    Raises
    ------
    ParameterError
        A parameter outside its range, or ``dt`` above the stability limit.
    """

    def __init__(
        self,
        device: Device,
        grid: Grid,
        equation: Burgers,
        initial: Any = "sin",
        dt: float | None = None,
        dtype: str = "float64",
        force: bool = False,
    ):
        self.device, self.grid, self.equation = device, grid, equation
        values = evaluate(initial, grid, equation.components)
        self.limit = equation.stable_time_step(grid, float(np.abs(values).max()))
        self.dt = _require_stable(dt, self.limit, force)
        self._scheme = equation.discretize(device, grid, dtype)
        self.u = Field(device, grid, equation.components, equation.ghost, dtype)
        self.u.set(values)
        self.step, self.time = 0, 0.0
        self._run_start, self._run_dt = self.moment, math.nan
        self._is_stale = False
        self._recorder: Recorder | None = None  # the last one found to fit
        self._finite = FiniteCheck(device, self.u)
        self._check_every = max(_CHECK_LEAST, _CHECK_WORK // grid.size)
        self._last_good = Field(device, grid, equation.components, equation.ghost, dtype)
        self._last_good.copy_from(self.u)
        self._mark_good()

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
            written from outside were the cause, to the last check.
        """
        for dt, count in self.plan(until, steps):
            self.take(dt, count, recorder)
        self.check(recorder)

    def steps(
        self, until: float | None = None, steps: int | None = None, every: int = 1
    ) -> Iterator[Moment]:
        """Advance and yield the moment after every ``every`` steps and after the last.

        Finiteness is checked every 2²⁶ point updates and at the end, not at every moment; see `advance` for the errors.
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
        if self.step == self._good.step:
            return
        if self._finite.count():
            self._locate_divergence(recorder)
        self._mark_good()

    def plan(self, until: float | None = None, steps: int | None = None) -> list[tuple[float, int]]:
        """Return the (dt, count) runs of equal steps by which `advance` gets there."""
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
        if until is None:
            return [(self.dt or SAFETY * self.limit, int(steps or 0))]
        rest = until - self.time
        if not math.isfinite(until) or rest < 0:
            raise ParameterError(
                f"until must be a time from {self.time:g} on, got {until!r}; time runs forward"
            )
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

    def take(self, dt: float, count: int, recorder: Recorder | None = None) -> None:
        """Take ``count`` steps of length ``dt``, looking for non-finite values every 2²⁶ point updates; see `advance`."""
        while count:
            burst = min(count, self._good.step + self._check_every - self.step)
            self._burst(dt, burst, recorder)
            count -= burst
            if self.step - self._good.step >= self._check_every:
                self.check(recorder)

    def _burst(self, dt: float, steps: int, recorder: Recorder | None) -> None:
        if self._is_stale:
            self._keep_good()
        if dt != self._run_dt or not self._history:
            self._run_start, self._run_dt = self.moment, dt
            self._history.append([dt, 0])
        recording = self._plan_recording(recorder, steps) if recorder else NOTHING
        if self._scheme.has_march:
            self._scheme.march(self.u, dt, steps, recording)
        else:
            self._step_by_step(dt, steps, recording)
        if recorder:
            recorder.fill(self.moment, dt, steps)
        self._history[-1][1] += steps
        self.step += steps
        self.time = self._run_start.time + (self.step - self._run_start.step) * dt

    def _plan_recording(self, recorder: Recorder, steps: int) -> Recording:
        if recorder is self._recorder:
            return recorder.plan(self.step, steps)
        into, wanted = recorder.into, (self.u.components * self.grid.size, self.u.dtype)
        if (into.shape[1], into.dtype) != wanted:
            raise ShapeError(
                f"a recorder of this simulation must have rows of {wanted[0]} {wanted[1]} values, got {into!r}; allocate it so"
            )
        self._recorder = recorder
        return recorder.plan(self.step, steps)

    def _step_by_step(self, dt: float, steps: int, recording: Recording) -> None:
        row = 0
        for n in range(1, steps + 1):
            self._scheme.step(self.u, dt)
            if recording.into is not None and n == recording.due + row * recording.every:
                self._snapshot(recording.into[recording.start_row + row])
                row += 1

    def _snapshot(self, row: Any) -> None:
        size = self.grid.size
        for component in range(self.u.components):
            row[component * size : (component + 1) * size].copy_from(self.u.interior[component])

    def _keep_good(self) -> None:
        if self._finite.count():
            raise _divergence(self.moment, self._first_bad_point(), True, self.limit)
        self._last_good.copy_from(self.u)
        self._is_stale = False

    def _mark_good(self) -> None:
        """Note the state as finite; it is copied when the next step is about to overwrite it."""
        self._good, self._is_stale = self.moment, self.step > 0
        self._history: list[list[Any]] = []  # [dt, steps] since then, in order

    def _locate_divergence(self, recorder: Recorder | None) -> None:
        """Repeat the steps since the last good state one by one, and stop before the first bad one.

        Where the repetition stays finite, someone else wrote the bad values, and the last good state is what is left.
        """
        found, location = self.moment, self._first_bad_point()
        repeat = [dt for dt, count in self._history for _ in range(count)]
        before = Field(self.device, self.grid, self.u.components, self.u.ghost, str(self.u.dtype))
        self.u.copy_from(self._last_good)
        self.step, self.time = self._good
        from_outside = True
        for dt in repeat:
            before.copy_from(self.u)
            self._scheme.step(self.u, dt)
            if self._finite.count():
                found, location = Moment(self.step + 1, self.time + dt), self._first_bad_point()
                from_outside = False
                self.u.copy_from(before)
                break
            self.step, self.time = self.step + 1, self.time + dt
        if from_outside:
            self.u.copy_from(self._last_good)
            self.step, self.time = self._good
        self._mark_good()
        if recorder:
            recorder.forget_after(self.step)
        raise _divergence(found, location, from_outside, self.limit)

    def _first_bad_point(self) -> tuple[float, ...]:
        values = self.u.to_host()
        index = tuple(int(axis[0]) for axis in np.nonzero(~np.isfinite(values)))
        return tuple(float(axis[index[1:]]) for axis in self.grid.coordinates())


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

"""Snapshots written on the device while a simulation advances."""

from typing import NamedTuple

from solver._occa import Memory
from solver.errors import ParameterError, ShapeError


class Recording(NamedTuple):
    """What one launch records: after ``due`` steps the first of ``rows`` snapshots, then one every ``every`` steps.

    They go to the rows of ``into`` from ``start_row`` on; None where nothing is recorded.
    """

    due: int
    every: int
    start_row: int
    rows: int
    into: Memory | None


NOTHING = Recording(due=0, every=1, start_row=0, rows=0, into=None)


class Moment(NamedTuple):
    """Where a simulation stands: steps taken and simulated time."""

    step: int
    time: float


class _Run(NamedTuple):
    """Snapshots after ``steps``, in time steps of ``dt`` from a moment."""

    steps: range
    start: Moment
    dt: float

    def moments(self) -> list[Moment]:
        return [Moment(n, self.start.time + (n - self.start.step) * self.dt) for n in self.steps]


class Recorder:
    """Rows that a simulation fills with its interior after each step whose number is a multiple of ``every``.

    Attributes
    ----------
    every : int
        Steps between snapshots.
    into : Memory
        Shape ``(capacity, dof)`` on the simulation's device, in its dtype; row-major, so kernels write it in place.
    capacity : int
        Rows.
    count : int
        Rows filled.
    """

    def __init__(self, every: int, into: Memory):
        if every < 1:
            raise ParameterError(
                f"a recorder's every must be 1 or more steps, got {every}; correct it"
            )
        if into.ndim != 2 or not into.is_contiguous:
            raise ShapeError(
                f"a recorder needs contiguous memory of shape (capacity, dof), got {into!r}; allocate it so"
            )
        self.every = every
        self.into = into
        self.capacity: int = into.shape[0]
        self.count = 0
        self._runs: list[_Run] = []

    @property
    def moments(self) -> list[Moment]:
        """The moment of each filled row."""
        return [moment for run in self._runs for moment in run.moments()]

    def newest(self, count: int) -> list[Moment]:
        """Return the moments of the last rows filled, oldest first."""
        found: list[Moment] = []
        for run in reversed(self._runs):
            found = run.moments() + found
            if len(found) >= count:
                break
        return found[len(found) - count :]

    @property
    def room(self) -> int:
        """Rows still free."""
        return self.capacity - self.count

    def steps_until_full(self, step: int) -> int:
        """Return how many steps from ``step`` fill the last free row."""
        return (step // self.every + self.room) * self.every - step

    def rewind(self) -> None:
        """Start again at the first row."""
        self.count = 0
        self._runs = []

    def plan(self, step: int, steps: int) -> Recording:
        """Return what ``steps`` steps from ``step`` record.

        Raises
        ------
        ShapeError
            More snapshots than rows are free.
        """
        rows = (step + steps) // self.every - step // self.every
        if rows > self.room:
            raise ShapeError(
                f"the recorder has room for {self.room} more snapshots, {steps} steps give {rows}; rewind it or take fewer"
            )
        if not rows:
            return NOTHING
        due = self.every - step % self.every
        return Recording(due, self.every, self.count, rows, self.into)

    def fill(self, step: int, steps: int, start: Moment, dt: float) -> None:
        """Note that ``steps`` steps from ``step`` have been recorded, of a run of equal steps of ``dt`` since ``start``."""
        first = (step // self.every + 1) * self.every
        self._add(_Run(range(first, step + steps + 1, self.every), start, dt))

    def add(self, moment: Moment) -> None:
        """Note that the next row has been filled by someone else at ``moment``."""
        self._add(_Run(range(moment.step, moment.step + 1), moment, 0.0))

    def forget_after(self, step: int) -> None:
        """Drop the rows recorded after ``step``."""
        runs = self._runs
        self.rewind()
        for run in runs:
            self._add(
                run._replace(
                    steps=range(run.steps.start, min(run.steps.stop, step + 1), run.steps.step)
                )
            )

    def _add(self, run: _Run) -> None:
        if run.steps:
            self._runs.append(run)
            self.count += len(run.steps)

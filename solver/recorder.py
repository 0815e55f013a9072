"""Snapshots written on the device while a simulation advances."""

from dataclasses import dataclass

from solver._occa import Memory
from solver.errors import ParameterError, ShapeError


@dataclass(frozen=True)
class Recording:
    """What one launch records: after ``due`` steps the first of ``rows`` snapshots, then one every ``every`` steps."""

    due: int
    every: int
    rows: int
    into: Memory | None


NOTHING = Recording(due=0, every=1, rows=0, into=None)


class Recorder:
    """Rows that a simulation fills with its interior after each step whose number is a multiple of ``every``.

    Attributes
    ----------
    every : int
        Steps between snapshots.
    into : Memory
        Shape ``(capacity, dof)`` on the simulation's device, in its dtype; row-major, so kernels write it in place.
    steps : list of int
        The step of each filled row.
    """

    def __init__(self, every: int, into: Memory):
        if every < 1:
            raise ParameterError(f"a recorder's every must be 1 or more steps, got {every}; correct it")
        if into.ndim != 2 or not into.is_contiguous:
            raise ShapeError(f"a recorder's memory must be contiguous of shape (capacity, dof), got {into!r}; allocate it so")
        self.every = every
        self.into = into
        self.steps: list[int] = []

    @property
    def count(self) -> int:
        """Rows filled."""
        return len(self.steps)

    @property
    def room(self) -> int:
        """Rows still free."""
        return self.into.shape[0] - self.count

    def steps_until_full(self, step: int) -> int:
        """Return how many steps from ``step`` fill the last free row."""
        return (step // self.every + self.room) * self.every - step

    def rewind(self) -> None:
        """Start again at the first row."""
        self.steps.clear()

    def plan(self, step: int, steps: int) -> Recording:
        """Return what ``steps`` steps from ``step`` record.

        Raises
        ------
        ShapeError
            More snapshots than rows are free.
        """
        rows = (step + steps) // self.every - step // self.every
        if rows > self.room:
            raise ShapeError(f"the recorder has room for {self.room} more snapshots, {steps} steps give {rows}; rewind it or take fewer steps")
        if not rows:
            return NOTHING
        return Recording(self.every - step % self.every, self.every, rows, self.into[self.count : self.count + rows])

    def fill(self, step: int, steps: int) -> None:
        """Note that ``steps`` steps from ``step`` have been recorded."""
        self.steps += [n for n in range(step + 1, step + steps + 1) if n % self.every == 0]

    def forget_after(self, step: int) -> None:
        """Drop the rows recorded after ``step``."""
        self.steps = [n for n in self.steps if n <= step]

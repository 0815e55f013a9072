"""Snapshots of a running simulation, kept on its device: the only copy of a field in the whole walk."""

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from insitu.bridge import as_torch
from insitu.distributed import Distributed
from solver import Device, DivergenceError, Moment, Recorder, Simulation

__all__ = ["Sampler"]

_BURST_WORK = 1 << 24  # point updates of one launch, so that a long run can tell how far it is
_ROUND_OFF = 1e-9  # relative, of a time that is the end of the run


class Sampler:
    """A bounded ring of snapshots on the solver's device, on each rank of its own block and members.

    `follow` lets the solver's kernels write the snapshots while they advance; `take` copies a view, device to device, for
    loops that step by themselves.

    Parameters
    ----------
    device : Device
        Of the simulation.
    dof : int
        Values in a snapshot, components times points.
    window : int
        Snapshots the ring holds; a longer run overwrites the oldest.
    every : int
        Steps between snapshots.
    dtype : str
        Of the simulation.

    Attributes
    ----------
    on_turn : callable or None
        Called when the ring is full, before its oldest snapshot may be overwritten.

    Raises
    ------
    ValueError
        ``window`` is below 1.
    ParameterError
        ``every`` is below 1.
    """

    def __init__(
        self, device: Device, dof: int, window: int, every: int = 1, dtype: str = "float64"
    ):
        if window < 1:
            raise ValueError(
                f"sampling.window must be 1 or more snapshots, got {window}; correct the case"
            )
        self.every = every
        self.window = window
        self.on_turn: Callable[[], None] | None = None
        self._recorder = Recorder(every, device.allocate((window, dof), dtype))
        self._older: list[Moment] = []
        self._rewound = 0

    @property
    def _ring(self) -> Tensor:
        """The whole ring, exported anew so that torch's current stream waits for what the solver has queued."""
        return as_torch(self._recorder.into)

    @property
    def moments(self) -> list[Moment]:
        """The moment of each snapshot held, oldest first."""
        return self._older[self._recorder.count :] + self._recorder.moments

    @property
    def count(self) -> int:
        """Snapshots held."""
        return self._recorder.count + len(self._older[self._recorder.count :])

    @property
    def taken(self) -> int:
        """Snapshots taken so far, overwritten ones included."""
        return self._rewound + self._recorder.count

    @property
    def is_full(self) -> bool:
        """Whether the next snapshot overwrites the oldest."""
        return self.count == self.window

    @property
    def snapshot_bytes(self) -> int:
        """Bytes of one snapshot."""
        return self._recorder.into.nbytes // self.window

    @property
    def snapshots(self) -> Float[Tensor, "count dof"]:
        """The snapshots held, (count, dof), oldest first, on the device.

        A view of the ring, valid until it is written again, as long as nothing was overwritten and each time it has just been
        filled; else a reordered copy.
        """
        newest, ring = self._recorder.count, self._ring
        if not self._older or newest == self.window:
            return ring[:newest]
        return torch.cat([ring[newest:], ring[:newest]])

    def newest(self, count: int) -> Float[Tensor, "newest dof"]:
        """Return the last snapshots, (newest, dof), oldest first, a view of the ring: at most those since it was last full."""
        return self._ring[max(0, self._recorder.count - count) : self._recorder.count]

    def since(self, taken: int) -> tuple[Float[Tensor, "newest dof"], list[Moment]]:
        """Return the snapshots after the first ``taken`` of the run, oldest first, and their moments.

        Raises
        ------
        RuntimeError
            Some of them are overwritten.
        """
        count = self.taken - taken
        if count > self.count:
            raise RuntimeError(
                f"the {count} newest snapshots must be held, the ring has {self.window}; widen sampling.window"
            )
        if count <= self._recorder.count:
            return self.newest(count), self._recorder.newest(count)
        return self.snapshots[-count:], self.moments[-count:]

    def due(self, moment: Moment) -> bool:
        """Whether a snapshot is to be taken now."""
        return moment.step > 0 and moment.step % self.every == 0

    def take(
        self, view: Float[Tensor, "components ..."] | Sequence[Tensor], moment: Moment
    ) -> None:
        """Copy a view of the field, (components, *points), into the ring; of several views one behind the other."""
        self.turn_if_full()
        row, begin = self._ring[self._recorder.count], 0
        for part in [view] if isinstance(view, Tensor) else view:
            row[begin : begin + part.numel()].view(part.shape).copy_(part)
            begin += part.numel()
        self._recorder.add(moment)

    def follow(
        self,
        simulation: Simulation,
        until: float | None = None,
        steps: int | None = None,
        interval: float | None = None,
        most: int | None = None,
        since: Moment | None = None,
    ) -> Iterator[Moment]:
        """Advance the simulation with as few launches as the ring allows, recording; yield after each.

        Parameters
        ----------
        simulation : Simulation
        until, steps
            See `solver.Simulation.advance`.
        interval
            Simulated time between snapshots, met exactly, instead of every so many steps: for steps that vary. They are then
            copied by `take`.
        most
            Steps between two yields at most, where they do not vary; multiples of it are not passed over.
        since
            The moment at which this was first called, of a simulation and a sampler restored in the midst of it.

        Raises
        ------
        DivergenceError
            From the check every 2²⁸ point updates; the ring then holds the finite snapshots.
        """
        if interval is not None:
            yield from self._follow_times(simulation, until, steps, interval, since)
            return
        for dt, count in simulation.plan(until, steps, since):
            yield from self.record(simulation, dt, count, most)

    def record(
        self, simulation: Simulation, dt: float, count: int, most: int | None = None
    ) -> Iterator[Moment]:
        """Advance the simulation by ``count`` steps of ``dt`` as `follow` does, for drivers that plan the steps themselves."""
        work = int(simulation.work * simulation.discretization.effort)
        most = min(most or _BURST_WORK, max(1, _BURST_WORK // work))
        while count:
            self.turn_if_full()
            to_next = most - simulation.step % most
            burst = min(count, to_next, self._recorder.steps_until_full(simulation.step))
            rows = self._recorder.count + burst // self.every + 1
            with self._dropping_what_diverged(simulation, min(rows, self.window)):
                simulation.take(dt, burst, self._recorder)
            count -= burst
            yield simulation.moment

    def _follow_times(
        self,
        simulation: Simulation,
        until: float | None,
        steps: int | None,
        interval: float,
        since: Moment | None,
    ) -> Iterator[Moment]:
        begin = since or simulation.moment
        end = until or math.inf
        last = None if steps is None else begin.step + steps
        for n in itertools.count(1 if since is None else 1 + self.taken):
            due = begin.time + n * interval
            if due > end * (1 + _ROUND_OFF):
                break
            yield from self._advance(simulation, min(due, end), last, due)
            if simulation.time < due * (1 - _ROUND_OFF):
                return  # the steps ran out
        if simulation.time < end:
            yield from self._advance(simulation, end, last, math.inf)

    def _advance(
        self, simulation: Simulation, until: float, last: int | None, due: float
    ) -> Iterator[Moment]:
        steps = None if last is None else last - simulation.step
        with self._dropping_what_diverged(simulation, self._recorder.count):
            for dt, count in simulation.plan(until, steps):
                simulation.take(dt, count)
                if simulation.time >= due * (1 - _ROUND_OFF):
                    self.take(as_torch(simulation.u), simulation.moment)
                yield simulation.moment

    def check(self, simulation: Simulation) -> None:
        """Check the simulation; where it diverged the snapshots after the last finite step are dropped.

        Raises
        ------
        DivergenceError
            See `solver.Simulation.check`.
        """
        with self._dropping_what_diverged(simulation, self._recorder.count):
            simulation.check(self._recorder)

    def flush(self) -> Float[Tensor, "count dof"]:
        """Return `snapshots` and start an empty ring; a view is valid until the next snapshot."""
        held = self.snapshots
        self._rewind()
        self._older = []
        return held

    def state_dict(self) -> dict[str, Any]:
        """Return what the rest of the run depends on: the rows that are filled, not copied, and their moments."""
        moments = self._older, self._recorder.moments
        return {
            "ring": Distributed(self._ring[: max(map(len, moments))], is_flat=True),
            "moments": [[list(moment) for moment in each] for each in moments],
            "rewound": self._rewound,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned, with the rows of this rank as a tensor.

        Raises
        ------
        ValueError
            The ring had more rows than this one.
        """
        rows = state["ring"]
        if len(rows) > self.window:
            raise ValueError(
                f"sampling.window must hold the {len(rows)} snapshots of the checkpoint, got {self.window}; resume with the "
                "case that wrote it"
            )
        self._ring[: len(rows)].copy_(rows)
        older, newest = ([Moment(*moment) for moment in each] for each in state["moments"])
        self._older, self._rewound = older, state["rewound"]
        self._recorder.rewind()
        for moment in newest:
            self._recorder.add(moment)

    @contextlib.contextmanager
    def _dropping_what_diverged(self, simulation: Simulation, written: int) -> Iterator[None]:
        """Leave only finite snapshots when the block diverges; it may have written the first ``written`` rows."""
        try:
            yield
        except DivergenceError:
            newest = list(enumerate(self._recorder.moments))
            older = list(enumerate(self._older))[written:]
            kept = [
                (row, moment) for row, moment in older + newest if moment.step <= simulation.step
            ]
            ring = self._ring
            ring[: len(kept)] = ring[[row for row, _ in kept]]
            self._older = []
            self._recorder.rewind()
            for _, moment in kept:
                self._recorder.add(moment)
            raise

    def turn_if_full(self) -> None:
        """Make room for the next snapshot, after `on_turn`; `take` and `record` do it themselves."""
        if self._recorder.room == 0:
            if self.on_turn is not None:
                self.on_turn()
            self._older = self._recorder.moments
            self._rewind()

    def _rewind(self) -> None:
        self._rewound += self._recorder.count
        self._recorder.rewind()

"""Snapshots of a running simulation, kept on its device: the only copy of a field in the whole walk."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from insitu.bridge import as_torch
from solver import Device, Moment, Recorder, Simulation

__all__ = ["Sampler"]


class Sampler:
    """A bounded ring of snapshots on the solver's device.

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
        self._recorder = Recorder(every, device.allocate((window, dof), dtype))
        self._ring = as_torch(self._recorder.into)
        self._older: list[Moment] = []
        self._rewound = 0

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
        return self._ring.shape[1] * self._ring.element_size()

    @property
    def snapshots(self) -> Float[Tensor, "count dof"]:
        """The snapshots held, (count, dof), oldest first, on the device.

        A view of the ring, valid until it is written again, as long as nothing was overwritten; a reordered copy after that.
        """
        newest = self._recorder.count
        if not self._older:
            return self._ring[:newest]
        return torch.cat([self._ring[newest:], self._ring[:newest]])

    def due(self, moment: Moment) -> bool:
        """Whether a snapshot is to be taken now."""
        return moment.step > 0 and moment.step % self.every == 0

    def take(self, view: Float[Tensor, "components ..."], moment: Moment) -> None:
        """Copy a view of the field, (components, *points), into the ring."""
        self._turn_if_full()
        self._ring[self._recorder.count].view(view.shape).copy_(view)
        self._recorder.add(moment)

    def follow(
        self, simulation: Simulation, until: float | None = None, steps: int | None = None
    ) -> Iterator[Moment]:
        """Advance the simulation with as few launches as the ring allows, recording; yield after each.

        Raises
        ------
        DivergenceError
            From the check every 2²⁶ point updates; the ring then holds the finite snapshots.
        """
        for dt, count in simulation.plan(until, steps):
            while count:
                self._turn_if_full()
                burst = min(count, self._recorder.steps_until_full(simulation.step))
                simulation.take(dt, burst, self._recorder)
                count -= burst
                yield simulation.moment

    def check(self, simulation: Simulation) -> None:
        """Check the simulation; where it diverged the snapshots after the last finite step are dropped.

        Raises
        ------
        DivergenceError
            See `solver.Simulation.check`.
        """
        simulation.check(self._recorder)

    def flush(self) -> Float[Tensor, "count dof"]:
        """Return `snapshots` and start an empty ring; a view is valid until the next snapshot."""
        held = self.snapshots
        self._rewind()
        self._older = []
        return held

    def _turn_if_full(self) -> None:
        if self._recorder.room == 0:
            self._older = self._recorder.moments
            self._rewind()

    def _rewind(self) -> None:
        self._rewound += self._recorder.count
        self._recorder.rewind()

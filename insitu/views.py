"""What of a field a figure shows, brought together from the ranks that share it: no more than the figure's pixels."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from insitu.solution import Solution
from insitu.timing import Ledger

__all__ = ["View", "evenly"]

_PIXELS = 512  # along an axis; a figure has no more to show


class View(NamedTuple):
    """What of a state is drawn: its components on at most 512 points along x and y, in the middle of z.

    All ranks call `collect` and `moments`; rank 0 gets the picture, the others None.

    Attributes
    ----------
    comm
        The ranks that share the simulation; None: this one is alone.
    shape
        ``([members,] components, *points)`` of this rank's part of a state.
    members
        Members on all ranks, 0 without an ensemble.
    first_member
        This rank's first.
    axes
        The drawn points' coordinates along x and, from two axes on, y, on the whole grid.
    indices
        The drawn points of this rank, along each axis of its block.
    begin
        Where they stand in the picture, along each of its axes.
    periods
        Length of each drawn axis that is periodic, else None.
    plane
        The third coordinate of what is drawn, None where there is no third axis.
    """

    comm: Any
    shape: tuple[int, ...]
    members: int
    first_member: int
    axes: list[np.ndarray]
    indices: list[list[int]]
    begin: list[int]
    periods: list[float | None]
    plane: float | None

    @classmethod
    def of(cls, simulation: Solution) -> "View":
        """Return the view of a simulation's fields."""
        grid, whole = simulation.grid, simulation.grid.whole
        axes = whole.axes()
        drawn = [evenly(n) for n in whole.points[:2]]
        plane = None
        if len(axes) == 3:
            drawn.append([whole.points[2] // 2])
            plane = float(axes[2][drawn[2][0]])
        ranges = [range(b, b + n) for b, n in zip(grid.begin, grid.points, strict=True)]
        return cls(
            simulation.comm,
            simulation.u.shape,
            simulation.share.members,
            simulation.share.begin,
            [axis[chosen] for axis, chosen in zip(axes[:2], drawn, strict=False)],
            [
                [n - own.start for n in chosen if n in own]
                for chosen, own in zip(drawn, ranges, strict=True)
            ],
            [
                sum(n < own.start for n in chosen)
                for chosen, own in zip(drawn[:2], ranges, strict=False)
            ],
            [
                end - start if is_periodic else None
                for (start, end), is_periodic in zip(whole.extent, whole.is_periodic, strict=True)
            ][:2],
            plane,
        )

    @property
    def is_drawn_here(self) -> bool:
        """Whether this is rank 0."""
        return self.comm is None or self.comm.rank == 0

    def collect(
        self, rows: Tensor, ledger: Ledger, members: list[int] | None = None
    ) -> np.ndarray | None:
        """Return what is drawn of states, on rank 0: shape (rows, [members,] components, x[, y]), on the host.

        Parameters
        ----------
        rows
            (rows, dof) of this rank, on the device.
        ledger
            Accounts what goes to the host.
        members
            Of an ensemble, those to show; all where they are left out.
        """
        part = self._part(rows)
        lead = [0]
        if self.members:
            own = [
                n
                for n in (range(self.members) if members is None else members)
                if 0 <= n - self.first_member < self.shape[0]
            ]
            part = part[:, [n - self.first_member for n in own]]
            lead.append(members.index(own[0]) if members and own else self.first_member)
        parts = self._gather(([*lead, 0, *self.begin], ledger.to_host(part)))
        return None if parts is None else _paste(parts)

    def moments(self, rows: Tensor, ledger: Ledger) -> tuple[np.ndarray, np.ndarray] | None:
        """Return mean and standard deviation over the members, on rank 0: each (rows, components, x[, y]), on the host."""
        part = self._part(rows)
        mean = part.mean(dim=1)
        squares = ((part - mean[:, None]) ** 2).sum(dim=1)
        numbers = ledger.to_host(torch.stack([mean, squares]))
        parts = self._gather((self.first_member, self.shape[0], [0, 0, 0, *self.begin], numbers))
        if parts is None:
            return None
        counts = {first: count for first, count, *_ in parts}
        shares = [
            (count, *_paste([part[2:] for part in parts if part[0] == first]))
            for first, count in counts.items()
        ]
        total = sum(counts.values())
        whole = sum(count * mean for count, mean, _ in shares) / total
        spread = sum(squares + count * (mean - whole) ** 2 for count, mean, squares in shares)
        return whole, np.sqrt(spread / total)

    def slope(self, planes: np.ndarray, axis: int) -> np.ndarray:
        """Return the derivative of planes (time, x, y) along an axis, by central differences."""
        x, period, along = self.axes[axis], self.periods[axis], axis + 1
        if period is not None:
            x = np.concatenate([[x[-1] - period], x, [x[0] + period]])
            wrapped = [(0, 0)] * planes.ndim
            wrapped[along] = (1, 1)
            planes = np.pad(planes, wrapped, mode="wrap")
        slopes = np.gradient(planes, x, axis=along)
        return slopes if period is None else np.delete(slopes, [0, len(x) - 1], axis=along)

    def _part(self, rows: Tensor) -> Tensor:
        """Return this rank's part of the picture, (rows, [members,] components, x[, y]), on the device."""
        states = rows.reshape(len(rows), *self.shape)
        first = states.ndim - len(self.indices)
        for axis, chosen in enumerate(self.indices, first):
            if len(chosen) < states.shape[axis]:
                states = states.index_select(axis, torch.tensor(chosen, device=states.device))
        if self.plane is None:
            return states
        has_plane = states.shape[-1] > 0
        return states[..., 0] if has_plane else states.new_empty((*states.shape[:-2], 0))

    def _gather(self, part: tuple[Any, ...]) -> list[Any] | None:
        return [part] if self.comm is None else self.comm.gather(part)


def evenly(extent: int) -> list[int]:
    """Return at most 512 indices, the first and the last among them."""
    return sorted({round(i) for i in np.linspace(0, extent - 1, min(extent, _PIXELS))})


def _paste(parts: Sequence[tuple[list[int], np.ndarray]]) -> np.ndarray:
    """Return arrays as the boxes of one; where each of them begins is given with it."""
    begins, arrays = zip(*[part for part in parts if part[1].size], strict=True)
    ends = [
        [b + n for b, n in zip(begin, array.shape, strict=False)]
        for begin, array in zip(begins, arrays, strict=True)
    ]
    whole = np.empty([max(axis) for axis in zip(*ends, strict=True)], arrays[0].dtype)
    for begin, end, array in zip(begins, ends, arrays, strict=True):
        whole[tuple(map(slice, begin, end))] = array
    return whole

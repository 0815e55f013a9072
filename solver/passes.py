"""Passes over memory: the launches that take several steps each, with the exchanges that precede them."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from solver._occa import Kernel, Memory
from solver.blocks import Plan, Problem
from solver.device import Device
from solver.grid import Block, Grid
from solver.halo import Halo
from solver.recorder import Recording
from solver.sides import Sides

__all__ = ["Pass", "agreed_steps", "passes"]


class Pass:
    """One way to take a pass: its kernel, and what it needs of sides and of other ranks."""

    def __init__(
        self,
        device: Device,
        grid: Grid,
        dtype: str,
        plan: Plan,
        problem: Problem,
        build: Callable[[Plan, Mapping[str, Any]], Kernel],
    ):
        self.plan = plan
        self.sides = Sides(device, grid, problem.components, dtype, plan.reach)
        defines = {**self.sides.defines, "CUT": problem.is_cut}
        self.halos: list[Halo] = []
        self.has_fields = False
        if isinstance(grid, Block) and problem.is_cut:
            self.halos = [
                Halo(device, grid, problem.members * count, dtype, plan.reach)
                for count in (problem.components, problem.fields)
                if count
            ]
            defines["FRAME_ONE"] = self.halos[0].memory.shape[1]
            self._order = device.allocate(plan.order.shape, "int32")
            self._order.copy_from(plan.order)
            self._frames = [halo.memory for halo in self.halos]
            self._frames += [device.allocate((0,), dtype)] * (2 - len(self.halos))
        self._early = plan.inner if problem.overlaps else 0
        self.spoilt = [device.allocate((plan.flags,), "int32")] if plan.flags else []
        self.kernel = build(plan, defines)

    def launch(
        self, source: Memory, fields: Memory, lead: tuple[Any, ...], tail: tuple[Any, ...]
    ) -> None:
        """Launch with the arguments that stand before and after those of a grid that ranks share."""
        tail = (*tail, *self.spoilt)
        if not self.halos:
            self.kernel(*lead, *tail)
            return
        if len(self.halos) > 1 and not self.has_fields:
            self.halos[1].exchange(fields)
            self.has_fields = True
        begin, end = 0, len(self.plan.order)
        self.halos[0].start(source)
        if self._early:
            self.kernel(*lead, 0, self._early, self._order, *self._frames, *tail)
            begin = self._early
        self.halos[0].finish()
        if begin < end:
            self.kernel(*lead, begin, end - begin, self._order, *self._frames, *tail)

    def has_spoilt(self) -> bool:
        """Return whether this rank's part of the last launch wrote values that are not finite; host modes."""
        return bool(np.asarray(self.spoilt[0]).any())


def agreed_steps(problem: Problem, grid: Grid) -> int | None:
    """Return how many steps a pass takes on all ranks that share the grid: what pays, and half of the smallest block at most."""
    if not isinstance(grid, Block) or not problem.is_cut:
        return None
    smallest = zip(grid.decomposition.smallest, grid.is_cut, strict=True)
    room = min(points for points, is_cut in smallest if is_cut) // (2 * problem.reach)
    wanted = max(1, min(problem.plans()[-1].steps, room))
    return min(grid.comm.allgather(wanted))


def passes(
    steps: int, recording: Recording, most: int, has_way_back: bool
) -> Iterator[tuple[int, int | None]]:
    """Yield (steps, row) of the passes that take ``steps`` steps: each ends at a snapshot, its row, or in between, None.

    Passes go back and forth between two buffers, and the state is to be in the first one at last. Where that takes a copy, one
    more pass reads and writes as much: from the last snapshot on there are as many as end there, where there are steps enough.
    With ``has_way_back`` it takes none.
    """
    ends = [
        (recording.due + n * recording.every, recording.start_row + n)
        for n in range(recording.rows)
    ]
    begin = 0
    for end, row in [*ends, (steps, None)]:
        count = -(-(end - begin) // most)
        is_elsewhere = row is None and count % 2 == (begin == 0)
        if is_elsewhere and not has_way_back and count < end - begin:
            count += 1
        for n in range(count):
            share = (end - begin) * (n + 1) // count - (end - begin) * n // count
            yield share, row if n == count - 1 else None
        begin = end

"""What a field file holds and which part of it is this rank's."""

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from insitu.case_errors import CaseError
from insitu.fields.settings import FieldFile
from insitu.fields.variables import Variable
from solver import Equation, Simulation

__all__ = ["Layout", "layout_of"]

_BATCH = 1 << 20  # bytes of small states that are written at once


@dataclass(frozen=True)
class Layout:
    """The arrays of a field file, alike on every rank but for its own part.

    Attributes
    ----------
    title
    variables
    capacity
        States that fit.
    batch
        States that are written at once.
    members
        Those of the ensemble that are written; None: one solution.
    own_members
        Positions among them of this rank's.
    parameters
        Of the equation, those with one number for each member that is written, by name.
    axes
        The points' coordinates along each axis of the whole grid.
    spacing
        Between them.
    boxes
        Of each rank: where its block begins, its points, and the positions of its members.
    rank
        This one.
    dtype
        Of the values.
    comm
        The ranks that write; None: this one is alone.
    """

    title: str
    variables: tuple[Variable, ...]
    capacity: int
    batch: int
    members: tuple[int, ...] | None
    own_members: tuple[int, ...]
    parameters: dict[str, np.ndarray]
    axes: tuple[np.ndarray, ...]
    spacing: tuple[float, ...]
    boxes: tuple[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]], ...]
    rank: int
    dtype: np.dtype[Any]
    comm: Any

    @property
    def points(self) -> tuple[int, ...]:
        """Of the whole grid."""
        return tuple(map(len, self.axes))

    @property
    def own_shape(self) -> tuple[int, ...]:
        """Shape of this rank's part of a state, (members, variables, *points)."""
        return (len(self.own_members), len(self.variables), *self.boxes[self.rank][1])

    def as_text(self) -> str:
        """Return what a file must have been made for to be continued."""
        names = [variable.name for variable in self.variables]
        return json.dumps([self.capacity, self.boxes, self.members, names, str(self.dtype)])

    @property
    def own_bytes(self) -> int:
        """Bytes of this rank's part of a state."""
        return math.prod(self.own_shape) * self.dtype.itemsize

    @property
    def own_box(self) -> tuple[slice, ...]:
        """Where this rank's block lies in the whole grid."""
        begin, points, _ = self.boxes[self.rank]
        return tuple(slice(b, b + n) for b, n in zip(begin, points, strict=True))


def layout_of(
    settings: FieldFile, simulation: Simulation, variables: tuple[Variable, ...], capacity: int
) -> Layout:
    """Return the layout of a simulation's field file.

    Raises
    ------
    CaseError
        The ensemble has no such member.
    """
    whole, total = simulation.grid.whole, simulation.share.members
    members = _members(settings, total)
    chosen = members if members is not None else (0,)
    boxes = tuple(
        (
            tuple(share["begin"]),
            tuple(share["points"]),
            tuple(n for n, m in enumerate(chosen) if _holds(share, m) or not total),
        )
        for share in simulation.shares
    )
    rank, dtype = simulation.ranks.rank, np.dtype(str(simulation.u.dtype))
    per_member = len(variables) * whole.size * dtype.itemsize
    held = max(len(own) for _, _, own in boxes)
    state = max(1, per_member * held // max(1, simulation.ranks.size))
    return Layout(
        f"{type(simulation.equation).__name__} on {' x '.join(map(str, whole.points))} points",
        variables,
        capacity,
        max(1, min(_BATCH // state, capacity)),
        members,
        boxes[rank][2],
        {} if members is None else _parameters(simulation.equation, members),
        whole.axes(),
        whole.spacing,
        boxes,
        rank,
        dtype,
        simulation.comm,
    )


def _holds(share: dict[str, list[int]], member: int) -> bool:
    first, end = share["members"]
    return first <= member < end


def _members(settings: FieldFile, total: int) -> tuple[int, ...] | None:
    if settings.members is None:
        return tuple(range(total)) if total else None
    for member in settings.members:
        if not 0 <= member < total:
            raise CaseError(
                f"fields.members must be numbers of an ensemble of {total} members, got {member}; count from 0"
            )
    return tuple(sorted(settings.members))


def _parameters(equation: Equation, members: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Return the equation's parameters that differ from member to member; of a tuple one for each axis."""
    found = {}
    for name, value in sorted(vars(equation).items()):
        for n, each in enumerate(value if isinstance(value, tuple) else (value,)):
            if isinstance(each, np.ndarray) and each.shape == (equation.members,):
                found[f"{name}_{n}" if isinstance(value, tuple) else name] = each[list(members)]
    return found

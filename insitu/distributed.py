"""Which part of a run's state is whose: what ranks share out, what each has for itself; all else is the same on every rank."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

__all__ = ["Distributed", "Local", "Rows", "own_part"]


@dataclass(frozen=True)
class Distributed:
    """Values at this rank's points of the grid, for its members; another number of ranks shares them out anew.

    Attributes
    ----------
    values
        (..., [members,] components, *points) as the simulation's state has them, any leading axes; or where `is_flat` (..., dof),
        the state in one axis. On any device.
    """

    values: Tensor
    is_flat: bool = False


@dataclass(frozen=True)
class Rows:
    """Those of the numbered rows of a table that this rank holds, numbers rank, rank + ranks, ...

    Attributes
    ----------
    values
        (rows of this rank, ...), on any device.
    total
        Rows of all ranks.
    """

    values: Tensor
    total: int


@dataclass(frozen=True)
class Local:
    """A value of this rank alone, as the state of its random numbers; on another number of ranks all get that of rank 0."""

    value: Any


def own_part(state: Any) -> Any:
    """Return a state with this rank's own values in place of `Distributed`, `Rows` and `Local`: as it was on that rank."""
    if isinstance(state, Distributed | Rows):
        return state.values
    if isinstance(state, Local):
        return state.value
    if isinstance(state, dict):
        return {name: own_part(each) for name, each in state.items()}
    return type(state)(map(own_part, state)) if type(state) in (list, tuple) else state

"""States that ranks share, brought together on one of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from insitu.collectives import gathered

__all__ = ["Whole"]


class Whole:
    """The states of all members on the whole grid, put together from the ranks' members and blocks.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
        The ranks that share the simulation.
    shares
        Members and block of every rank, as `solver.Simulation.shares`.
    shape
        (members, components, *points) of the whole.
    """

    def __init__(
        self, comm: Any, shares: Sequence[Mapping[str, Sequence[int]]], shape: Sequence[int]
    ) -> None:
        self.comm, self.members, self._shape = comm, shape[0], tuple(shape)
        components = shape[1]
        self._shapes, self._places = [], []
        for share in shares:
            begin, end = share["members"]
            self._shapes.append((end - begin, components, *share["points"]))
            along = zip(share["begin"], share["points"], strict=True)
            self._places.append(
                (slice(begin, end), slice(None), *(slice(at, at + count) for at, count in along))
            )

    def at(
        self, rank: int, states: Float[Tensor, "own_members components *own_points"]
    ) -> Float[Tensor, "members components *points"] | None:
        """Return the whole on that rank, on its device, None on the others; all ranks call it."""
        parts = gathered(self.comm, rank, states, self._shapes)
        if not parts:
            return None
        whole = states.new_empty(self._shape)
        for place, part in zip(self._places, parts, strict=True):
            whole[place] = part
        return whole

"""How the ranks of a communicator share a simulation: members of an ensemble, and blocks of the grid."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from solver.decomposition import Decomposition, fewest_neighbours, require_product
from solver.errors import ParameterError
from solver.grid import Block, Grid

__all__ = ["Share", "share"]


class Share(NamedTuple):
    """What one rank works on.

    Attributes
    ----------
    grid : Grid
        Its block, or the whole grid where no other rank shares it.
    members : int
        Members of the whole ensemble, 0 of a single solution.
    begin, end : int
        Those of this rank; 0 and 1 of a single solution.
    """

    grid: Grid
    members: int
    begin: int
    end: int

    def as_numbers(self) -> dict[str, list[int]]:
        """Return the members and the block as lists of numbers."""
        return {
            "members": [self.begin, self.end],
            "begin": list(self.grid.begin),
            "points": list(self.grid.points),
        }


def share(
    grid: Grid,
    members: int | None,
    comm: Any,
    ranks: Sequence[int] | None,
    overlaps: bool,
) -> Share:
    """Deal a simulation out to the ranks of a communicator; all of them call it.

    Members are dealt out first, which needs no messages; ranks beyond them share the grid in blocks of the smallest surface.
    With ``ranks`` along each axis given, what they leave of the communicator deals out the members.

    Raises
    ------
    ParameterError
        More ranks than points or members, or ``ranks`` that do not multiply to the communicator's size.
    """
    count, size = members or 1, 1 if comm is None else comm.size
    if ranks is None:
        teams = max(n for n in range(1, size + 1) if size % n == 0 and n <= count)
        along = fewest_neighbours(grid.points, size // teams)
    else:
        teams = max(1, size // max(1, math.prod(ranks))) if members else 1
        along = require_product(ranks, grid.points, size // teams)
    if teams > count or teams * math.prod(along) != size:
        raise ParameterError(
            f"{size} ranks must share {count} members and, with ranks {tuple(along)} along the axes, the grid, they cannot; "
            "correct ranks or leave them out"
        )
    per_team = size // teams
    team = 0 if comm is None else comm.rank // per_team
    begin, end = count * team // teams, count * (team + 1) // teams
    if per_team == 1:
        return Share(grid, members or 0, begin, end)
    space = _split(comm, team, teams)
    place = Decomposition(grid.points, along, grid.is_periodic, space.rank)
    return Share(Block(grid, place, space, overlaps), members or 0, begin, end)


def _split(comm: Any, team: int, teams: int) -> Any:
    """Return the communicator of a team, the same one for every simulation on ``comm``."""
    from mpi4py import MPI

    if not _KEYVAL:
        _KEYVAL.append(MPI.Comm.Create_keyval())
    known = comm.Get_attr(_KEYVAL[0])
    if known is None:
        known = {}
        comm.Set_attr(_KEYVAL[0], known)
    if teams not in known:
        known[teams] = comm.Split(team, comm.rank)
    return known[teams]


_KEYVAL: list[int] = []

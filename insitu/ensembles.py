"""What a surrogate learns from: the runs of this rank's members, with their physical parameters."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from insitu.sampler import Sampler
from insitu.surrogates import Trajectories
from solver import Equation, Simulation

__all__ = ["require_whole_members", "trajectories"]


def trajectories(simulation: Simulation, sampler: Sampler) -> Trajectories:
    """Return the snapshots held as runs of this rank's members, and the parameters in which they differ.

    Returns
    -------
    Trajectories
        States (members, times, components, *points), a view of the ring where nothing was overwritten, on the device; a run
        without an ensemble is one member. Parameters (members, parameters), those of which the equation has one number for each
        member, by the names of its attributes.
    """
    snapshots = sampler.snapshots
    shape = simulation.u.interior.shape
    shape = shape if simulation.members is not None else (1, *shape)
    states = snapshots.reshape(len(snapshots), *shape).transpose(0, 1)
    equation = simulation.equation.share(simulation.share.begin, simulation.share.end)
    found = list(_parameters(equation))
    if not found:
        return Trajectories(states)
    values = torch.from_numpy(np.stack(found, axis=1))
    return Trajectories(states, values.to(states.device, states.dtype))


def require_whole_members(simulation: Simulation) -> None:
    """Refuse to train surrogates where ranks share the grid.

    Raises
    ------
    ValueError
        No rank has a whole member.
    """
    if any(simulation.grid.is_cut):
        raise ValueError(
            f"learning.surrogates: expected whole members on each rank, got blocks of {list(simulation.grid.points)} of "
            f"{list(simulation.grid.whole.points)} points; run an ensemble with as many members as ranks or more, or fewer ranks"
        )


def _parameters(equation: Equation) -> Iterator[np.ndarray]:
    """Yield the parameters with one number for each member; see `solver.Equation.share`."""
    for name, value in sorted(vars(equation).items()):
        if not name.startswith("_"):
            yield from _arrays(value, equation.members)


def _arrays(value: Any, members: int | None) -> Iterator[np.ndarray]:
    if isinstance(value, tuple):
        for each in value:
            yield from _arrays(each, members)
    elif isinstance(value, np.ndarray) and value.shape == (members,):
        yield value

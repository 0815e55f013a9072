"""What of a state is written: its components, the pressure, and what follows from them, on the device."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from insitu.bridge import as_torch
from insitu.case_errors import CaseError
from insitu.locality import FieldModel
from solver import Grid, NavierStokes, Simulation

__all__ = ["Centred", "Variable", "Variables", "Vorticity"]

_COMPONENTS = ("u", "v", "w")
_AXES = ("x", "y", "z")


class Variable(NamedTuple):
    """One array of the file.

    Attributes
    ----------
    name
    meaning
        In words.
    face
        The axis on whose low faces it lies; None: at the grid's points.
    """

    name: str
    meaning: str
    face: int | None = None


class Centred(nn.Module):
    """A staggered velocity at the grid's points, the mean of the two faces around each.

    Faces beyond the last of an axis with sides are the first's, 0 on walls, see `solver.on_centres`.
    """

    influence = 1

    def forward(
        self, states: Float[Tensor, "batch axes *points"]
    ) -> Float[Tensor, "batch axes *points"]:
        """Return (batch, axes, *points)."""
        return torch.stack(
            [(q + q.roll(-1, axis + 1)) / 2 for axis, q in enumerate(states.unbind(1))], dim=1
        )


class Vorticity(nn.Module):
    """∇ × u of a velocity at the grid's points, by second-order differences, one-sided at the sides.

    Parameters
    ----------
    grid
        Its spacing and sides.
    is_staggered
        Whether the velocity is given on faces.
    """

    def __init__(self, grid: Grid, is_staggered: bool):
        super().__init__()
        self.influence = 3 if is_staggered else 2
        self._spacing, self._is_periodic = grid.spacing, grid.is_periodic
        self._centred = Centred() if is_staggered else nn.Identity()

    def forward(
        self, states: Float[Tensor, "batch axes *points"]
    ) -> Float[Tensor, "batch turns *points"]:
        """Return the component about z of two axes, (batch, 1, *points), or those about x, y, z, (batch, 3, *points)."""
        velocity = self._centred(states).unbind(1)
        if len(velocity) == 2:
            return (self._slope(velocity[1], 0) - self._slope(velocity[0], 1))[:, None]
        turns = [
            self._slope(velocity[b], a) - self._slope(velocity[a], b)
            for a, b in ((1, 2), (2, 0), (0, 1))
        ]
        return torch.stack(turns, dim=1)

    def _slope(self, values: Tensor, axis: int) -> Tensor:
        """Return the derivative of values (batch, *points)."""
        along, step = axis + 1, 2 * self._spacing[axis]
        slope = (values.roll(-1, along) - values.roll(1, along)) / step
        if not self._is_periodic[axis] and values.shape[along] > 2:
            for end, sign in ((0, 1), (-1, -1)):
                edge, next_, third = (values.select(along, end + sign * n) for n in range(3))
                slope.select(along, end).copy_(sign * (4 * next_ - 3 * edge - third) / step)
        return slope


class Variables:
    """The variables that a case chooses, taken from a row of snapshots.

    Parameters
    ----------
    simulation
    chosen
        Names; None takes the components of the state.
    at_points
        Whether a staggered velocity is to be given at the grid's points.

    Attributes
    ----------
    all : tuple of Variable
    needs_moment : bool
        Whether the present state is needed beside the snapshots: the pressure is not in them.

    Raises
    ------
    CaseError
        There is no such variable.
    """

    def __init__(self, simulation: Simulation, chosen: Sequence[str] | None, at_points: bool):
        self._simulation = simulation
        self._shape = simulation.u.shape
        grid, components = simulation.grid, simulation.u.components
        names = _COMPONENTS[:components]
        is_staggered = isinstance(simulation.equation, NavierStokes)
        is_velocity = components == len(grid.points) > 1
        there = [*names]
        there += ["pressure"] * is_staggered + ["vorticity"] * is_velocity
        wanted = list(names) if chosen is None else list(chosen)
        for name in wanted:
            if name not in there:
                raise CaseError(
                    f"fields.variables must name variables of {type(simulation.equation).__name__} here, {', '.join(there)}, got "
                    f"{name!r}; correct it"
                )
        self._models: dict[str, FieldModel] = {}
        if is_staggered and at_points and set(wanted) & set(names):
            self._models["state"] = FieldModel(Centred(), simulation.device, grid)
        if "vorticity" in wanted:
            self._models["vorticity"] = FieldModel(
                Vorticity(grid, is_staggered), simulation.device, grid
            )
        self.needs_moment = "pressure" in wanted
        self._sources: list[tuple[str, int]] = []
        described: list[Variable] = []
        for name in wanted:
            if name == "pressure":
                described.append(Variable(name, "pressure over density, up to a constant"))
                self._sources.append((name, 0))
            elif name == "vorticity":
                turns = [name] if len(grid.points) == 2 else [f"{name}_{x}" for x in _AXES]
                described += [Variable(turn, f"{turn} of the velocity") for turn in turns]
                self._sources += [(name, n) for n in range(len(turns))]
            else:
                n = names.index(name)
                face = n if is_staggered and not at_points else None
                meaning = f"velocity along {_AXES[n]}" if is_velocity else "solution"
                described.append(Variable(name, meaning, face))
                self._sources.append(("state", n))
        self.all = tuple(described)

    @property
    def are_the_state(self) -> bool:
        """Whether the variables are the state's components in order, as a row has them."""
        own = [("state", n) for n in range(self._simulation.u.components)]
        return self._sources == own and not self._models

    def of(self, row: Float[Tensor, " dof"], members: Sequence[int], into: Tensor) -> None:
        """Write the variables of a state, as a row of snapshots, to (members, variables, *points); all ranks call it.

        Parameters
        ----------
        row
            (dof,) of this rank, on the device.
        members
            Which of this rank's are written, counted from its first.
        into
            On the device.
        """
        state = row.view(self._shape)
        state = state[None] if self._simulation.members is None else state[list(members)]
        sources: dict[str, Callable[[], Tensor]] = {
            "state": lambda: state,
            "pressure": lambda: self._pressure()[None, None],
        }
        found: dict[str, Tensor] = {}
        for n, (source, part) in enumerate(self._sources):
            if source not in found:
                model = self._models.get(source)
                found[source] = model(state) if model and len(state) else sources[source]()
            into[:, n].copy_(found[source][:, part])

    def _pressure(self) -> Tensor:
        """Return the pressure, (*points); before the first step there is none, NaN."""
        pressure = as_torch(self._simulation.discretization.pressure)  # type: ignore[attr-defined]
        return pressure if self._simulation.step else torch.full_like(pressure, math.nan)

"""How fast an equation separates two states, measured beside a run."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from insitu.bridge import as_torch
from insitu.distributed import Distributed
from insitu.takeover.interval import norms
from solver import Simulation, Trial

__all__ = ["Twin"]

_DISTANCE = 1e-3  # of the twin from the state, relative to its size


class Twin:
    """A state beside the simulation's, a little apart in a direction that errors have.

    Where it is advanced over one stretch of the run after another, the direction turns to where the equation separates states
    most. Between the stretches it stays as it is, so on a run that is seldom measured it lags behind.

    Parameters
    ----------
    simulation : Simulation
        All ranks that share it make the same calls.

    Source: Benettin et al. 1980, doi:10.1007/BF02128236.
    """

    def __init__(self, simulation: Simulation):
        self._simulation = simulation
        self._trial = Trial(simulation)
        self._state = self._trial.field()
        self._direction: Tensor | None = None
        self._distance, self._duration = 0.0, 0.0

    @torch.no_grad()
    def depart(self, dt: float, steps: int) -> None:
        """Advance a twin of the present state by steps that the simulation is about to take."""
        if self._direction is None:
            return
        simulation = self._simulation
        u = as_torch(simulation.u)
        (size,) = norms(simulation.comm, u)
        self._distance, self._duration = _DISTANCE * size, steps * dt
        torch.add(u, self._direction, alpha=self._distance, out=as_torch(self._state))
        self._trial.advance(self._state, dt, steps, simulation.time)

    @torch.no_grad()
    def compare(self) -> float | None:
        """Return the rate at which the two went apart, 1/time, once the simulation has taken the steps; None without a twin."""
        if self._direction is None or not self._distance:
            return None
        torch.sub(as_torch(self._state), as_torch(self._simulation.u), out=self._direction)
        (distance,) = norms(self._simulation.comm, self._direction)
        ratio, self._distance = distance / self._distance, 0.0
        if not distance > 0:
            self._direction = None
            return math.inf if math.isnan(distance) else None
        self._direction.mul_(1 / distance)
        return math.log(ratio) / self._duration

    def state_dict(self) -> dict[str, Any]:
        """Return the direction, between two stretches."""
        return {
            "direction": self._direction
            if self._direction is None
            else Distributed(self._direction)
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned, with this rank's part of the direction."""
        direction = state["direction"]
        if direction is not None:
            direction = direction.to(as_torch(self._state).device)
        self._direction, self._distance = direction, 0.0

    @torch.no_grad()
    def take_in(self, error: Float[Tensor, "*state"], size: float) -> None:
        """Turn the direction towards an error that was found, of a 2-norm."""
        if not 0 < size < math.inf:
            return
        if self._direction is None:
            self._direction = error / size
            return
        self._direction.add_(error, alpha=1 / size)
        (length,) = norms(self._simulation.comm, self._direction)
        self._direction.mul_(1 / length)

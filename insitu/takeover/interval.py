"""A proposed interval of a simulation, and how far it is from being a solution."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from insitu.bridge import as_torch
from insitu.collectives import total
from insitu.distributed import Distributed
from insitu.takeover.rules import DefectRule
from solver import Simulation, Trial

__all__ = ["Interval", "norms"]


class Interval:
    """Puts a proposed state to the test, in memory of its own; the simulation notices nothing until `take_over`.

    A proposal for ``lead`` steps ahead is advanced by the solver for ``relaxation`` more, which damps at once what the equation
    damps at once, such as the noise of a network. Then `DefectRule` says how far the two ends are from being joined by steps of
    the solver, for the price of three of them, or of two where the last interval was taken over too.

    Parameters
    ----------
    simulation : Simulation
        All ranks that share it make the same calls.
    dt : float
    lead : int
        Steps that the surrogate stands for.
    relaxation : int
        Steps that the solver adds to each proposal.

    Attributes
    ----------
    steps : int
        Of the interval, ``lead + relaxation``.
    end : Tensor
        The end of the last proposal, ([members,] components, *points) of this rank, on the device.
    """

    def __init__(self, simulation: Simulation, dt: float, lead: int, relaxation: int):
        self._simulation, self.dt = simulation, dt
        self.lead, self._relaxation = lead, relaxation
        self.steps = lead + relaxation
        self._rule = DefectRule(self.steps)
        self._trial = Trial(simulation)
        self._end, self._middle, self._change, self._end_change, self._middle_change = (
            self._trial.field() for _ in range(5)
        )
        self._changed_at: int | None = None  # the step whose state's change is known
        self.end = as_torch(self._end)

    @torch.no_grad()
    def test(self, proposal: Float[Tensor, "*state"]) -> tuple[float, float]:
        """Return the 2-norms of the defect and of the end over all ranks, in the state's unit; nan where not finite.

        Parameters
        ----------
        proposal : Tensor
            The state ``lead`` steps ahead, as `end`.
        """
        simulation, dt, trial = self._simulation, self.dt, self._trial
        begin = simulation.time
        self.end.copy_(proposal)
        if self._relaxation:
            trial.advance(self._end, dt, self._relaxation, begin + self.lead * dt)
        if self._changed_at != simulation.step:
            trial.increment(simulation.u, self._change, dt, begin)
            self._changed_at = simulation.step
        trial.increment(self._end, self._end_change, dt, begin + self.steps * dt)
        self._combine(as_torch(self._middle), self.steps / 2)
        trial.increment(self._middle, self._middle_change, dt, begin + self.steps / 2 * dt)
        defect = as_torch(self._middle)
        torch.sub(self.end, as_torch(simulation.u), out=defect)
        fields = (self._change, self._middle_change, self._end_change)
        for weight, field in zip(self._rule.sum_weights, fields, strict=True):
            defect.sub_(as_torch(field), alpha=weight)
        size, length = norms(simulation.comm, defect, self.end)
        return size, length

    def at(self, step: int) -> Float[Tensor, "*state"]:
        """Return the state ``step`` steps after the beginning, of the cubic that was tested; valid until the next call."""
        if step == self.steps:
            return self.end
        state = as_torch(self._middle)
        self._combine(state, float(step))
        return state

    def take_over(self) -> None:
        """Write the end into the simulation, which is then ``steps`` steps further."""
        simulation = self._simulation
        simulation.u.copy_from(self._end)
        simulation.leap(self.dt, self.steps)
        self._change, self._end_change = self._end_change, self._change
        self._changed_at = simulation.step

    def state_dict(self) -> dict[str, Any]:
        """Return the time step and, where it is known, the change of the present state by one step."""
        is_known = self._changed_at == self._simulation.step
        change = Distributed(as_torch(self._change)) if is_known else None
        return {"dt": self.dt, "change": change}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned, with this rank's part of the change."""
        self._changed_at = None
        if state["change"] is not None:
            as_torch(self._change).copy_(state["change"])
            self._changed_at = self._simulation.step

    def _combine(self, into: Tensor, step: float) -> None:
        start, start_change, end, end_change = self._rule.at(step)
        torch.mul(as_torch(self._simulation.u), start, out=into)
        into.add_(as_torch(self._change), alpha=start_change)
        into.add_(self.end, alpha=end)
        into.add_(as_torch(self._end_change), alpha=end_change)


def norms(comm: object, *values: Tensor) -> tuple[float, ...]:
    """Return the 2-norm of each tensor over all ranks, on every rank the same bits; nan where it is not finite."""
    squares = torch.stack([each.double().square().sum() for each in values])
    found = total(comm, squares).tolist()
    return tuple(math.sqrt(each) if math.isfinite(each) else math.nan for each in found)

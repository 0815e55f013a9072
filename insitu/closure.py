"""A model inside the right-hand side: it supplies a field of the equation, a forcing or a coefficient, at every step."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from insitu.bridge import as_torch, torch_device
from insitu.locality import FieldModel
from insitu.sampler import Sampler
from solver import Field, Moment, Simulation, Trial

__all__ = ["Closure", "ClosureSettings", "Correction", "missing_forcing"]


class Correction(nn.Module):
    """A field from the state, f = s · core((u − m) / d).

    The mean m and deviation d of the state and the scale s of the field are one number for each component; as buffers they
    travel with ``state_dict``. The core computes in the precision of its weights, the result has that of the state. A core that
    returns 0 gives 0.

    Parameters
    ----------
    core : torch.nn.Module
        Maps (batch, components, *points), dimensionless, to (batch, outputs, *points).
    components, outputs : int
        Of the state and of the field.
    """

    mean: Tensor
    deviation: Tensor
    scale: Tensor

    def __init__(self, core: nn.Module, components: int, outputs: int | None = None):
        super().__init__()
        self.core = core
        like = next(core.parameters(), torch.empty(0))
        self.register_buffer("mean", like.new_zeros(components))
        self.register_buffer("deviation", like.new_ones(components))
        self.register_buffer("scale", like.new_ones(outputs or components))

    @property
    def influence(self) -> nn.Module:
        """The module that sees as far as this one, see `insitu.locality.influence_of`."""
        return self.core

    def forward(
        self, states: Float[Tensor, "batch components *points"]
    ) -> Float[Tensor, "batch outputs *points"]:
        """Return the field for each state, in the field's unit."""
        shape = (-1, *(1,) * (states.ndim - 2))
        inputs = (states - self.mean.reshape(shape)) / self.deviation.reshape(shape)
        found = self.core(inputs.to(self.mean.dtype))
        return (self.scale.reshape(shape) * found).to(states.dtype)

    @torch.no_grad()
    def fit_statistics(
        self,
        states: Float[Tensor, "pairs components *points"],
        fields: Float[Tensor, "pairs outputs *points"],
    ) -> None:
        """Set m, d and s, the root mean square of the field, from training pairs and nothing else; what is 0 counts as 1."""
        values = states.transpose(0, 1).flatten(1).double()
        scale = fields.transpose(0, 1).flatten(1).double().square().mean(1).sqrt()
        found = {"mean": values.mean(1), "deviation": values.std(1, correction=0), "scale": scale}
        for name, value in found.items():
            if name != "mean":
                value = torch.where(value > 0, value, torch.ones_like(value))
            getattr(self, name).copy_(value)


class Closure:
    """Advances a simulation whose equation has a field that a model supplies from the state.

    The model is evaluated before every ``every`` steps and frozen in between, through the stages of a step as well. Its output is
    written into the field's own memory; nothing goes through the host. Members of an ensemble are a batch. Where ranks share the
    grid the model goes through `FieldModel`, and so must see no further than it says.

    Call it inside ``with on_stream(device)``.

    Parameters
    ----------
    simulation : Simulation
    model : torch.nn.Module
        Maps the state, (batch, components, *points), to the field, (batch, its components, *points).
    field : str
        Name of the field in ``simulation.fields``.
    every : int
        Steps between two evaluations.
    sampler : Sampler, optional
        Gets its snapshots.

    Attributes
    ----------
    evaluations : int
        Of the model so far.

    Raises
    ------
    ValueError
        The equation has no such field, or ``every`` is below 1.
    """

    def __init__(
        self,
        simulation: Simulation,
        model: nn.Module,
        field: str = "forcing",
        every: int = 1,
        sampler: Sampler | None = None,
    ):
        if field not in simulation.fields:
            names = ", ".join(simulation.fields) or "none"
            raise ValueError(
                f"closure: expected one of the equation's fields ({names}), got {field!r}; give the equation that field, for "
                f"example {field}=0.0"
            )
        if every < 1:
            raise ValueError(
                f"closure: expected every of 1 or more steps, got {every}; correct the case"
            )
        self._simulation, self._every, self._sampler = simulation, every, sampler
        self._model = FieldModel(model, simulation.device, simulation.grid)
        self._field = simulation.fields[field]
        self.evaluations = 0
        self._valid_until = 0  # the step up to which the field is held

    def summary(self) -> dict[str, Any]:
        """Return what ``report.json`` has of it."""
        return {"closure": {"evaluations": self.evaluations, "every": self._every}}

    def update(self) -> None:
        """Write the field that the model finds for the present state."""
        self.evaluations += 1
        self._model(as_torch(self._simulation.u), into=as_torch(self._field))

    def advance(self, until: float | None = None, steps: int | None = None) -> None:
        """Advance to a time or by a number of steps; see `solver.Simulation.advance`."""
        for _ in self.follow(until, steps):
            pass

    def follow(
        self, until: float | None = None, steps: int | None = None, since: Moment | None = None
    ) -> Iterator[Moment]:
        """Advance and yield the moment after each evaluation and its steps, with a sampler whenever it turns.

        ``since`` is the moment at which this was first called, of a run restored in the midst of it.

        Raises
        ------
        DivergenceError
            See `solver.Simulation.advance`; with values "written from outside" where the model's are not finite.
        """
        simulation = self._simulation
        if since is None:
            self._valid_until = simulation.step
        for dt, count in simulation.plan(until, steps, since):
            end = simulation.step + count
            while simulation.step < end:
                if simulation.step >= self._valid_until:
                    self.update()
                    self._valid_until = min(simulation.step + self._every, end)
                burst = self._valid_until - simulation.step
                if self._sampler is None:
                    simulation.take(dt, burst)
                    yield simulation.moment
                else:
                    yield from self._sampler.record(simulation, dt, burst)
        simulation.check()

    def state_dict(self) -> dict[str, Any]:
        """Return what `follow` goes on from; the model's output is the simulation's own."""
        model = self._model.module.state_dict()
        return {"evaluations": self.evaluations, "valid_until": self._valid_until, "model": model}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned; all ranks call it, and make ready what the model's first call on ranks needs."""
        self.evaluations, self._valid_until = state["evaluations"], state["valid_until"]
        self._model.module.load_state_dict(state["model"])
        if self.evaluations:
            self._model(as_torch(self._simulation.u))

    def take(self, dt: float, count: int) -> None:
        """Take ``count`` steps of length ``dt``; see `solver.Simulation.take`."""
        for burst in self._bursts(count):
            self._simulation.take(dt, burst)

    def _bursts(self, count: int) -> Iterator[int]:
        """Yield the steps to take after each evaluation of the model."""
        while count:
            self.update()
            burst = min(self._every, count)
            yield burst
            count -= burst


@dataclass(frozen=True)
class ClosureSettings:
    """A model inside the right-hand side, as a case describes it.

    Parameters
    ----------
    model
        Maps the state, (batch, components, *points), to the field; by its class path.
    field
        Of the equation, which must have it.
    every
        Steps between two evaluations.
    weights
        Saved ``state_dict`` of the model.
    """

    model: nn.Module
    field: str = "forcing"
    every: int = 1
    weights: str | None = None

    def build(self, simulation: Simulation, sampler: Sampler | None = None) -> Closure:
        """Return the closure of a simulation.

        Raises
        ------
        ValueError
            See `Closure`.
        OSError, RuntimeError
            The weights cannot be read, or belong to another model.
        """
        if self.weights is not None:
            self.model.load_state_dict(torch.load(self.weights, weights_only=True))
        model = self.model.to(torch_device(simulation.device)).eval()
        return Closure(simulation, model, self.field, self.every, sampler)


def missing_forcing(
    trial: Trial,
    scratch: Field,
    before: Float[Tensor, "*state"],
    after: Float[Tensor, "*state"],
    dt: float,
    steps: int,
    time: float = 0.0,
) -> Float[Tensor, "*state"]:
    """Return the constant forcing that a simulation lacks on its way from one state to another, (after − Φⁿ(before)) / nΔt.

    With states of a fine run on the points of a coarse simulation, this is what a closure of the coarse one has to learn.

    Parameters
    ----------
    trial : Trial
        Of the coarse simulation, whose field is as it was: 0 for a forcing.
    scratch : Field
        ``trial.field()``, overwritten.
    before, after : Tensor
        States ``steps`` steps of ``dt`` apart, from ``time`` on, on the simulation's device, in the shape of its state.

    Returns
    -------
    Tensor
        Of the shape of the state, per unit of time; new memory.
    """
    view = as_torch(scratch)
    view.copy_(before)
    trial.advance(scratch, dt, steps, time)
    return (after - view) / (steps * dt)

"""An autoregressive model of the whole state: u(t) on the grid in, u(t + τ) out."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from insitu.collectives import together, total

__all__ = ["Surrogate"]


class Surrogate(nn.Module):
    """Step a field by a fixed interval, u(t + τ) = u + s · core((u − m) / d [, (p − m_p) / d_p]).

    The mean m, the deviation d and the scale s of the increments are one number for each component,
    those of a physical parameter p one for each parameter. They are buffers, and so is the interval
    in effect: all of them travel with ``state_dict``. A core that returns 0 leaves the state as it
    is, to the bit.

    States may have another precision than the weights: the core computes in that of the weights,
    the sum u + … is in that of the state.

    Parameters
    ----------
    core : torch.nn.Module
        Maps (batch, components + parameters, *points), dimensionless, to (batch, components,
        *points). Parameters come as constant channels, after the components.
    components : int
        Of the field.
    parameters : int
        Physical parameters that each member of a batch has.
    interval : float
        τ, in the time unit of the solver; nan where it is not known yet.

    Attributes
    ----------
    interval : float
        τ, in double precision whatever the weights are in.
    mean, deviation, scale : Tensor
        (components,), in the unit of the field.
    parameter_mean, parameter_deviation : Tensor
        (parameters,), in their units.

    Raises
    ------
    ValueError
        There are fewer than one component, fewer than no parameters, or the interval is <= 0.
    """

    mean: Tensor
    deviation: Tensor
    scale: Tensor
    parameter_mean: Tensor
    parameter_deviation: Tensor

    def __init__(
        self, core: nn.Module, components: int, parameters: int = 0, interval: float = math.nan
    ):
        super().__init__()
        for name, value, least in (("components", components, 1), ("parameters", parameters, 0)):
            if value < least:
                raise ValueError(f"surrogate: expected {name} >= {least}, got {value}; correct it")
        if interval <= 0:
            raise ValueError(f"surrogate: expected an interval > 0, got {interval}; correct it")
        self.core = core
        self.interval = interval
        like = next(core.parameters(), torch.empty(0))
        for name, count in (("", components), ("parameter_", parameters)):
            self.register_buffer(f"{name}mean", like.new_zeros(count))
            self.register_buffer(f"{name}deviation", like.new_ones(count))
        self.register_buffer("scale", like.new_ones(components))

    @property
    def components(self) -> int:
        """Components of the field."""
        return len(self.mean)

    @property
    def parameter_count(self) -> int:
        """Physical parameters of each member."""
        return len(self.parameter_mean)

    @property
    def influence(self) -> nn.Module:
        """The module that sees as far as this one, see `insitu.locality.influence_of`."""
        return self.core

    def forward(
        self,
        states: Float[Tensor, "batch components *points"],
        parameters: Float[Tensor, "batch parameters"] | None = None,
    ) -> Float[Tensor, "batch components *points"]:
        """Return the states one interval later.

        Parameters
        ----------
        states : Tensor
            (batch, components, *points), as ``as_torch(simulation.u)`` with a batch in front.
        parameters : Tensor, optional
            (batch, parameters), on the device of the states.

        Returns
        -------
        Tensor
            As `states`, same unit, dtype and device.

        Raises
        ------
        ValueError
            There are other components or parameters than the surrogate was made for.
        """
        self._require(states, parameters)
        axes = states.ndim - 2
        inputs = (states - _along(self.mean, axes)) / _along(self.deviation, axes)
        inputs = inputs.to(self.mean.dtype)
        if parameters is not None:
            normal = (parameters - self.parameter_mean) / self.parameter_deviation
            channels = normal.to(inputs.dtype).reshape(*normal.shape, *(1,) * axes)
            channels = channels.expand(-1, -1, *states.shape[2:])
            inputs = torch.cat([inputs, channels], dim=1)
        return states + (_along(self.scale, axes) * self.core(inputs)).to(states.dtype)

    def rollout(
        self,
        states: Float[Tensor, "batch components *points"],
        steps: int,
        parameters: Float[Tensor, "batch parameters"] | None = None,
    ) -> Float[Tensor, "batch {steps} components *points"]:
        """Return the states after 1, …, steps intervals, each from the one before.

        Gradients pass through all steps; call it under ``torch.no_grad()`` to forecast.

        Parameters
        ----------
        states : Tensor
            (batch, components, *points), the states before the first step.
        steps : int
            Number of intervals.
        parameters : Tensor, optional
            (batch, parameters).

        Returns
        -------
        Tensor
            (batch, steps, components, *points).

        Raises
        ------
        ValueError
            As `forward`, or `steps` is negative.
        """
        if steps < 0:
            raise ValueError(f"rollout: expected steps >= 0, got {steps}; ask for 0 or more")
        self._require(states, parameters)
        found = []
        for _ in range(steps):
            states = self(states, parameters)
            found.append(states)
        if not found:
            return states.new_empty(len(states), 0, *states.shape[1:])
        return torch.stack(found, dim=1)

    @torch.no_grad()
    def fit_statistics(
        self,
        inputs: Float[Tensor, "pairs components *points"],
        targets: Float[Tensor, "..."],
        parameters: Float[Tensor, "pairs parameters"] | None = None,
        comm: Any = None,
    ) -> None:
        """Set the statistics from training pairs, and from nothing else.

        m and d are mean and deviation of the inputs, s the root mean square of targets − inputs. A
        deviation within round-off counts as 1, a scale that vanishes as the deviation.

        Parameters
        ----------
        inputs, targets : Tensor
            (pairs, components, *points), states and those one interval later; those of this rank.
        parameters : Tensor, optional
            (pairs, parameters).
        comm : mpi4py.MPI.Comm, optional
            The ranks that share the pairs, or their points; all of them call this and get the same
            statistics. None: this one has all.

        Raises
        ------
        ValueError
            As `forward`, or a statistic is not finite.
        """
        with together(comm):
            self._require(inputs, parameters)
            if targets.shape != inputs.shape:
                raise ValueError(
                    f"surrogate: expected targets of shape {tuple(inputs.shape)}, got {tuple(targets.shape)}; pair the states"
                )
        mean, deviation = _moments(inputs.transpose(0, 1).flatten(1), comm)
        change = (targets - inputs).transpose(0, 1).flatten(1)
        scale = (_sum(change.double().square(), comm) / _count(change, comm)).sqrt()
        scale = torch.where(scale > 0, scale, deviation)
        found = {"mean": mean, "deviation": deviation, "scale": scale}
        if parameters is not None:
            found["parameter_mean"], found["parameter_deviation"] = _moments(parameters.T, comm)
        for name, values in found.items():
            if not values.isfinite().all():
                raise ValueError(
                    f"surrogate: expected finite training pairs, got {name} = {values.tolist()}; check the sampled field"
                )
        for name, values in found.items():
            getattr(self, name).copy_(values)

    def get_extra_state(self) -> Tensor:
        """Return the interval, float64 on the host, so that no conversion of the module rounds it."""
        return torch.tensor(self.interval, dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """Take the interval over."""
        self.interval = float(state)

    def _require(self, states: Tensor, parameters: Tensor | None) -> None:
        if states.shape[1] != self.components:
            raise ValueError(
                f"surrogate: expected states (batch, {self.components}, *points), got {tuple(states.shape)}; give all components"
            )
        expected = (len(states), self.parameter_count)
        found = (len(states), 0) if parameters is None else tuple(parameters.shape)
        if found != expected:
            raise ValueError(
                f"surrogate: expected parameters of shape {expected}, got {found}; give {self.parameter_count} for each state"
            )


def _along(values: Tensor, axes: int) -> Tensor:
    """Return one number for each component as something that fits states."""
    return values.reshape(-1, *(1,) * axes)


def _moments(
    values: Float[Tensor, "rows samples"], comm: Any
) -> tuple[Float[Tensor, " rows"], Float[Tensor, " rows"]]:
    """Return mean and deviation of each row over all ranks, in double precision."""
    count = _count(values, comm)
    mean = _sum(values.double(), comm) / count
    deviation = (_sum((values.double() - mean[:, None]).square(), comm) / count).sqrt()
    is_constant = deviation <= torch.finfo(values.dtype).eps * mean.abs()
    return mean, torch.where(is_constant, torch.ones_like(deviation), deviation)


def _sum(values: Float[Tensor, "rows samples"], comm: Any) -> Float[Tensor, " rows"]:
    return total(comm, values.sum(dim=1))


def _count(values: Float[Tensor, "rows samples"], comm: Any) -> Tensor:
    return total(comm, torch.tensor(float(values.shape[1]), dtype=torch.float64)).to(values.device)

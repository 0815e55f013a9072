"""Training of a surrogate on an ensemble of runs, and its error on others."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from insitu.collectives import together
from insitu.parallel import Share
from insitu.surrogates.base import Surrogate
from insitu.training import Progress, Training, TrainingRecord, train

__all__ = ["Trajectories", "fit"]


@dataclass(frozen=True)
class Trajectories:
    """Runs of an ensemble, over initial conditions and parameters, at equal intervals of time.

    Attributes
    ----------
    states : Tensor
        (members, times, components, *points), on any device; the members of this rank.
    parameters : Tensor or None
        (members, parameters), physical parameters of each run, on the same device.

    Raises
    ------
    ValueError
        There is another number of parameters than of states.
    """

    states: Float[Tensor, "members times components *points"]
    parameters: Float[Tensor, "runs parameters"] | None = None

    def __post_init__(self) -> None:
        runs = len(self.states) if self.parameters is None else len(self.parameters)
        if runs != len(self.states):
            raise ValueError(
                f"trajectories: expected parameters for each of {len(self.states)} members, got {runs}; give all"
            )

    def __len__(self) -> int:
        """Return the number of members."""
        return len(self.states)

    def of(self, members: Sequence[int] | slice) -> "Trajectories":
        """Return some of the members."""
        chosen = self.parameters if self.parameters is None else self.parameters[members]
        return Trajectories(self.states[members], chosen)

    def pairs(
        self, steps: int = 1
    ) -> tuple[
        Float[Tensor, "pairs components *points"],
        Float[Tensor, "pairs {steps} components *points"],
        Float[Tensor, "pairs parameters"] | None,
    ]:
        """Return each state, the `steps` states after it, and its parameters, one member after the other.

        Raises
        ------
        ValueError
            There are `steps` times or fewer.
        """
        times = self.states.shape[1]
        if times <= steps:
            raise ValueError(
                f"trajectories: expected more than {steps} times to pair states with {steps} after them, got {times}; sample more"
            )
        inputs = self.states[:, : times - steps].flatten(0, 1)
        following = self.states[:, 1:].unfold(1, steps, 1).movedim(-1, 2)
        parameters = self.parameters
        if parameters is not None:
            parameters = parameters.repeat_interleave(times - steps, dim=0)
        return inputs, following.flatten(0, 1), parameters


def fit(
    surrogate: Surrogate,
    trajectories: Trajectories,
    settings: Training,
    steps: int = 1,
    progress: Progress | None = None,
    comm: Any = None,
) -> TrainingRecord:
    """Train on ⟨((û_k − u_k) / s)²⟩, k = 1 … steps, û rolled out from a true state, s the surrogate's scale.

    The last `settings.validation` of the members, rounded up, are held out whole: no time of theirs
    is trained on, nor enters the statistics. A single member is split in time. The surrogate moves
    to the device of the states and is in evaluation mode afterwards.

    Parameters
    ----------
    surrogate : Surrogate
        Changed in place. Weights are what they are, see `insitu.training.seeded`.
    trajectories : Trajectories
        Of this rank; their interval is to be that of the surrogate.
    settings : Training
        Of the loop, the same on every rank.
    steps : int
        Length of the rollout, through all of which gradients pass.
    progress : callable, optional
        Called as progress(epoch, record), see `insitu.training.train`.
    comm : mpi4py.MPI.Comm, optional
        The ranks that share the members; all of them call this. None: this one has all.

    Returns
    -------
    TrainingRecord
        Losses in units of s².

    Raises
    ------
    ValueError
        There are too few members or times, or a state is not finite.
    insitu.training.TrainingError
        The loss is not finite.
    """
    with together(comm):
        inputs, targets, parameters = trajectories.pairs(steps)
    share, each = Share.of(comm, len(trajectories)), trajectories.states.shape[1] - steps
    held_out = math.ceil(share.total * settings.validation) * each
    if share.total == 1:
        held_out = math.ceil(each * settings.validation)
    pairs = Share(share.first * each, share.count * each, share.total * each)
    seen = pairs.here(torch.arange(pairs.total - held_out)).to(inputs.device)
    surrogate.to(inputs.device)
    known = None if parameters is None else parameters[seen]
    surrogate.fit_statistics(inputs[seen], targets[seen, 0], known, comm)
    scaled = targets / surrogate.scale.reshape(-1, *(1,) * (inputs.ndim - 2)).to(targets.dtype)
    packed = inputs.flatten(1)
    if parameters is not None:
        packed = torch.cat([packed, parameters.to(packed.dtype)], dim=1)
    unrolled = _Unrolled(surrogate, steps, inputs.shape[1:])
    return train(unrolled, packed, scaled, settings, progress, comm, held_out)


class _Unrolled(nn.Module):
    """The rollout of a surrogate in units of its scale, from a row of a state's values and its parameters."""

    def __init__(self, surrogate: Surrogate, steps: int, shape: torch.Size):
        super().__init__()
        self.surrogate, self.steps, self.shape = surrogate, steps, shape

    def forward(
        self, packed: Float[Tensor, "batch values"]
    ) -> Float[Tensor, "batch steps components *points"]:
        values = self.shape.numel()
        states = packed[:, :values].unflatten(1, self.shape)
        parameters = packed[:, values:] if self.surrogate.parameter_count else None
        found = self.surrogate.rollout(states, self.steps, parameters)
        scale = self.surrogate.scale.reshape(-1, *(1,) * (len(self.shape) - 1))
        return found / scale.to(found.dtype)

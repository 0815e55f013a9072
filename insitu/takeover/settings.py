"""A takeover as a case describes it."""

from dataclasses import dataclass, field

import torch
from torch import nn

from insitu.bridge import torch_device
from insitu.sampler import Sampler
from insitu.surrogates import PatchCore, ReducedCore, Surrogate
from insitu.takeover.control import Control
from insitu.takeover.least_squares import LeastSquares
from insitu.takeover.takeover import Takeover
from solver import Simulation

__all__ = ["TakeoverSettings"]


@dataclass(frozen=True)
class TakeoverSettings:
    """A surrogate that takes steps where it is right.

    Parameters
    ----------
    steps
        Steps of the solver that it stands for.
    core
        Of the surrogate, by its class path. `PatchCore` and `ReducedCore` learn during the run; others keep their weights.
    control
        What it may do.
    weights
        Saved ``state_dict`` of such a surrogate, to begin with.
    first
        Pairs of states before the first fit.
    pairs
        Pairs held at most.

    Raises
    ------
    ValueError
        A core that does not learn has no weights, or the surrogate stands for less than one step.
    """

    steps: int
    core: nn.Module
    control: Control = field(default_factory=Control)
    weights: str | None = None
    first: int = 16
    pairs: int = 1024

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(
                f"takeover.steps must be 1 or more, got {self.steps}; give the solver's steps of an interval"
            )
        if self.weights is None and not self._learns:
            raise ValueError(
                f"takeover.weights must name a file for {type(self.core).__name__}, which does not learn during a run, got null; "
                "train a surrogate and save its state_dict"
            )

    @property
    def _learns(self) -> bool:
        return isinstance(self.core, PatchCore | ReducedCore)

    def build(self, simulation: Simulation, dt: float, sampler: Sampler) -> Takeover:
        """Return the takeover of a simulation with steps of ``dt``.

        Raises
        ------
        ValueError
            See `Takeover`; also where it is to learn on several ranks.
        OSError, RuntimeError
            The weights cannot be read, or belong to another core.
        """
        surrogate = Surrogate(self.core, simulation.u.components, interval=self.steps * dt)
        if self._learns:
            surrogate.double()
        if self.weights is not None:
            surrogate.load_state_dict(torch.load(self.weights, weights_only=True))
        surrogate.to(torch_device(simulation.device)).eval()
        trainer = None
        if self._learns and self.weights is None:
            if simulation.comm is not None:
                raise ValueError(
                    f"takeover: a surrogate that learns during a run does so on one rank, got {simulation.comm.size}; give "
                    "takeover.weights, or run on one rank"
                )
            trainer = LeastSquares(surrogate, self.first, self.pairs)
        return Takeover(simulation, surrogate, self.control, trainer, sampler)

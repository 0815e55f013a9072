"""Training of a surrogate in closed form, again and again as pairs come in."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from insitu.distributed import Distributed
from insitu.surrogates import PatchCore, ReducedCore, Surrogate

__all__ = ["LeastSquares"]


class LeastSquares:
    """A `Trainer` of a surrogate with a `ReducedCore` or `PatchCore`, fitted anew when there are half as many pairs again.

    Parameters
    ----------
    surrogate : Surrogate
        Around such a core; changed in place.
    first : int
        Pairs before the first fit, at least 4.
    capacity : int
        Pairs held, the first ones of the run; with these the training ends.

    Attributes
    ----------
    error : float or None
        Of one interval on the last quarter of the pairs, by a fit to the others, relative to the states.
    pairs : int
        Held.
    """

    def __init__(self, surrogate: Surrogate, first: int = 16, capacity: int = 1024):
        self._surrogate, self._capacity = surrogate, capacity
        self._due = min(max(4, first), capacity)
        self._before: list[Tensor] = []
        self._after: list[Tensor] = []
        self.pairs = 0
        self.error: float | None = None

    def offer(
        self,
        before: Float[Tensor, "batch components *points"],
        after: Float[Tensor, "batch components *points"],
    ) -> None:
        """Hold the pairs, and fit where enough new ones have come."""
        if self.pairs >= self._capacity:
            return
        self._before.append(before)
        self._after.append(after)
        self.pairs += len(before)
        if self.pairs >= self._due:
            self.error = self.fit(self._surrogate, torch.cat(self._before), torch.cat(self._after))
            self._due = max(self.pairs + 1, min(math.ceil(1.5 * self.pairs), self._capacity))

    def state_dict(self) -> dict[str, Any]:
        """Return the pairs held, not copied, and when the next fit is due."""
        return {
            "before": [Distributed(states) for states in self._before],
            "after": [Distributed(states) for states in self._after],
            "due": self._due,
            "pairs": self.pairs,
            "error": self.error,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned, with this rank's part of the pairs."""
        self._due, self.pairs, self.error = state["due"], state["pairs"], state["error"]
        device = next(self._surrogate.buffers()).device
        self._before, self._after = (
            [states.to(device) for states in state[name]] for name in ("before", "after")
        )

    @staticmethod
    @torch.no_grad()
    def fit(
        surrogate: Surrogate,
        inputs: Float[Tensor, "pairs components *points"],
        targets: Float[Tensor, "pairs components *points"],
    ) -> float:
        """Fit statistics and core; return the error of one interval, relative to the states.

        Raises
        ------
        TypeError
            The core is of another class.
        """
        surrogate.fit_statistics(inputs, targets)
        shape = (-1, *(1,) * (inputs.ndim - 2))
        mean, deviation, scale = (
            each.reshape(shape) for each in (surrogate.mean, surrogate.deviation, surrogate.scale)
        )
        changes = targets - inputs
        core = surrogate.core
        if not isinstance(core, ReducedCore | PatchCore):
            raise TypeError(
                f"least squares: expected a ReducedCore or PatchCore, got {type(core).__name__}; use descent"
            )
        error = core.fit((inputs - mean) / deviation, changes / scale)
        return error * float(changes.norm() / targets.norm())

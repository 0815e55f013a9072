"""Training of a surrogate by gradient descent between the solver's intervals."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from insitu.collectives import total
from insitu.online import OnlineTrainer

__all__ = ["DescentTrainer"]


class DescentTrainer:
    """A `Trainer` around an `OnlineTrainer`, which takes some steps after each pair.

    Its ``module`` is the surrogate to hand to the `Takeover`.

    Parameters
    ----------
    trainer : OnlineTrainer
        Of pairs with a stride of 1, and a mean square as its loss.
    steps : int
        Training steps after each pair.
    comm : mpi4py.MPI.Comm, optional
        The ranks that share the simulation.

    Raises
    ------
    ValueError
        The trainer has another stride.
    """

    def __init__(self, trainer: OnlineTrainer, steps: int = 10, comm: Any = None):
        if trainer.settings.stride != 1:
            raise ValueError(
                f"takeover: expected online.stride 1, got {trainer.settings.stride}; the surrogate's interval is a pair's"
            )
        self._trainer, self._steps, self._comm = trainer, steps, comm
        self._number = 0
        self._squares = torch.zeros(2, dtype=torch.float64, device=trainer.device)
        self._known: tuple[int, float] | None = None

    @property
    def error(self) -> float | None:
        """Of one interval on the held-out pairs, relative to the states; None before the trainer has looked at them.

        The square root of the loss beside that of persistence, times how much the states change.
        """
        found = self._trainer.record.validation
        if not found:
            return None
        if self._known is None or self._known[0] != len(found):
            _, loss, persistence = found[-1]
            change, size = self._squares.tolist()
            self._known = len(found), (loss / persistence * change / size) ** 0.5
        return self._known[1]

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the trainer, and how much the states change."""
        return {
            "trainer": self._trainer.state_dict(),
            "number": self._number,
            "squares": self._squares,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned; all ranks call it."""
        self._trainer.load_state_dict(state["trainer"])
        self._number, self._known = state["number"], None
        self._squares.copy_(state["squares"])

    def offer(
        self,
        before: Float[Tensor, "batch components *points"],
        after: Float[Tensor, "batch components *points"],
    ) -> None:
        """Hold the pair, and train."""
        parts = torch.stack(
            [(after - before).double().square().sum(), after.double().square().sum()]
        )
        self._squares += total(self._comm, parts)
        for number, states in enumerate((before, after), self._number):
            self._trainer.offer(number, states)
        self._number += 3
        for _ in range(self._steps):
            self._trainer.step()

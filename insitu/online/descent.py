"""One step of an optimizer over a batch, in as many parts as memory asks for."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from insitu.collectives import on_first, size_of, total
from insitu.online.buffer import Buffer, Pairs
from insitu.online.memory import is_out_of_memory, release_memory

__all__ = ["Descent"]


class Descent:
    """Gradient steps that out-of-memory makes smaller and never ends.

    A batch that does not fit is computed again in parts of half as many pairs, whose gradients add up to the same; the smaller
    size is kept. Where a single pair does not fit, the step is skipped. On several ranks all of them see the same: each computes
    the pairs it holds, gradients, loss and failures are summed in one message, and one rank's failure makes all repeat the batch.

    Parameters
    ----------
    module, loss, optimizer
        The loss averages over the pairs. Where the module has a `scale` (of each component), as a surrogate does, the loss is
        taken in its unit.
    most
        Pairs at once, to begin with.
    comm
        The ranks, None for one.
    breathe
        Called after every part.
    """

    def __init__(
        self,
        module: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        optimizer: torch.optim.Optimizer,
        most: int,
        comm: Any = None,
        breathe: Callable[[], None] = lambda: None,
    ) -> None:
        self.module, self.loss, self.optimizer = module, loss, optimizer
        self.breathe = breathe
        self.most = most
        self.backoffs = self.skipped = 0
        self._comm = comm
        self._weights = [weight for weight in module.parameters() if weight.requires_grad]
        self._device = self._weights[0].device

    def step(self, buffer: Buffer, numbers: Int[Tensor, " pairs"]) -> Float[Tensor, ""] | None:
        """Take one step over the numbered pairs, which all ranks name alike; the mean loss, None where memory was short."""
        self.module.train()
        held = buffer.here(numbers)
        while (error := self._accumulate(buffer, held, len(numbers))) is None:
            self.backoffs += 1
            if self.most == 1:
                self.skipped += 1
                self.optimizer.zero_grad(set_to_none=True)
                return None
            self.most = max(1, min(self.most, len(numbers)) // 2)
        return error if self._update() else None

    @torch.no_grad()
    def evaluate(self, buffer: Buffer) -> Float[Tensor, "2"] | None:
        """Return the loss over all pairs of a buffer, of the module and of persistence; None where memory was short."""
        self.module.eval()
        held = buffer.here(torch.arange(buffer.pairs))
        errors = torch.zeros(3, dtype=self._weights[0].dtype, device=self._device)
        try:
            for part in held.split(self.most) if len(held) else ():
                pairs = buffer.gather(part)
                share = len(part) / buffer.pairs
                errors[0] += share * self._error(pairs, self._outputs(pairs))
                errors[1] += share * self._error(pairs, pairs.inputs)
                self.breathe()
        except Exception as error:
            _require_short_memory(error)
            errors[2] += 1
        errors = total(self._comm, errors)
        return None if errors[2] > 0 else errors[:2]

    def _accumulate(self, buffer: Buffer, held: Tensor, count: int) -> Tensor | None:
        """Leave the gradient of the whole batch in the weights and return its loss, or None."""
        self.optimizer.zero_grad(set_to_none=True)
        whole = torch.zeros((), dtype=self._weights[0].dtype, device=self._device)
        is_short = False
        try:
            for part in held.split(self.most) if len(held) else ():
                pairs = buffer.gather(part)
                error = self._error(pairs, self._outputs(pairs)) * (len(part) / count)
                error.backward()
                whole += error.detach()
                self.breathe()
        except Exception as refusal:
            _require_short_memory(refusal)
            is_short = True
        if is_short:
            self.optimizer.zero_grad(set_to_none=True)
            release_memory(self._device)
        return self._summed(whole, is_short)

    def _outputs(self, pairs: Pairs) -> Tensor:
        if pairs.parameters is None:
            return self.module(pairs.inputs)
        return self.module(pairs.inputs, pairs.parameters)

    def _error(self, pairs: Pairs, outputs: Tensor) -> Tensor:
        targets = pairs.targets
        scale = getattr(self.module, "scale", None)
        if isinstance(scale, Tensor):
            unit = scale.reshape(-1, *(1,) * (targets.ndim - 2))
            outputs, targets = outputs / unit, targets / unit
        return self.loss(outputs, targets)

    def _summed(self, whole: Tensor, is_short: bool) -> Tensor | None:
        """Sum gradients, loss and failures over the ranks, in the bits of rank 0."""
        if size_of(self._comm) == 1:
            return None if is_short else whole
        parts = [
            torch.zeros_like(weight) if weight.grad is None else weight.grad
            for weight in self._weights
        ]
        flat = torch.cat(
            [*(part.flatten() for part in parts), whole[None], whole.new_ones(1) * is_short]
        )
        flat = total(self._comm, flat)
        if flat[-1] > 0:
            return None
        for weight, summed in zip(
            self._weights, flat[:-2].split([part.numel() for part in parts]), strict=True
        ):
            weight.grad = summed.view_as(weight)
        return flat[-2]

    def _update(self) -> bool:
        """Let the optimizer step; where memory is short in that too, all ranks go on with the weights of rank 0."""
        failures = torch.zeros(1, dtype=torch.int64)
        try:
            self.optimizer.step()
        except Exception as error:
            _require_short_memory(error)
            failures += 1
        self.optimizer.zero_grad(set_to_none=True)
        if not total(self._comm, failures):
            return True
        self.skipped += 1
        release_memory(self._device)

        def states() -> tuple[dict[str, Any], dict[str, Any]]:
            return self.module.state_dict(), self.optimizer.state_dict()

        weights, moments = on_first(self._comm, states, self._device)
        self.module.load_state_dict(weights)
        self.optimizer.load_state_dict(moments)
        return False


def _require_short_memory(error: Exception) -> None:
    """Raise an error again that says anything else than that memory is short."""
    if not is_out_of_memory(error):
        raise error

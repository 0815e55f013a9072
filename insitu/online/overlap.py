"""Training beside the solver: on spare threads of a host, on a low-priority stream of a GPU."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from insitu.online.staging import Staging
from insitu.online.throttle import Throttle
from insitu.online.trainer import OnlineTrainer

__all__ = ["Overlap"]

_WAIT = 0.01  # seconds, where there is nothing to train on yet
_SPARE = 8  # samples beyond those of one burst that may be on their way


class Overlap:
    """A thread that trains while the solver's thread goes on.

    The trainer belongs to that thread between `start` and `stop`; samples reach it as copies, see `Staging`. On a host the
    solver's kernels and torch's operations run side by side, as both release Python's lock. On a GPU the thread launches on a
    stream of the lowest priority, and waits for each piece of work before the next, so that little is ever queued there.

    Parameters
    ----------
    trainer
        The throttle holds it back between the layers of its module, forward and backward: the smaller the pieces of work, the
        more evenly they fall on the solver's bursts.
    parameters
        (members, p) of the equation, where the module takes them.
    threads
        Threads of the host that one piece of work may use.
    """

    def __init__(
        self,
        trainer: OnlineTrainer,
        parameters: Float[Tensor, "members p"] | None = None,
        threads: int = 1,
    ) -> None:
        self.trainer, self.throttle = trainer, Throttle()
        self.failure: BaseException | None = None
        self._parameters, self._threads = parameters, threads
        self._slots = trainer.settings.every + _SPARE
        self._staging: Staging | None = None
        self._thread = threading.Thread(target=self._run, name="online training", daemon=True)
        trainer.descent.breathe = self._breathe
        self._hooks = [
            part.register_forward_hook(self._after_layer)
            for part in trainer.module.modules()
            if next(part.children(), None) is None
        ]

    @property
    def dropped(self) -> int:
        """Samples that were left out because the trainer had not taken the ones before."""
        return self._staging.dropped if self._staging else 0

    def start(self) -> None:
        """Start the thread, at rest."""
        self._before = torch.get_num_threads()
        self._thread.start()

    def stop(self) -> None:
        """End the thread after its present piece of work; the trainer may then be used by others."""
        self.throttle.end()
        self._thread.join()
        self.trainer.descent.breathe = lambda: None
        for hook in self._hooks:
            hook.remove()
        torch.set_num_threads(self._before)

    def offer(self, sample: int, states: Float[Tensor, "members components *points"]) -> bool:
        """Hand a sample over, without waiting; False where it was left out."""
        if self._staging is None:
            self._staging = Staging(states, self._slots)
        return self._staging.put(sample, states)

    def _run(self) -> None:
        try:
            torch.set_num_threads(self._threads)
            with self._low_priority():
                self.throttle.idle()
                self._breathe()
                while not self.throttle.has_ended:
                    self._take_samples()
                    if self.trainer.step() is None:
                        time.sleep(_WAIT)
                        self.throttle.idle()
                    self._breathe()
                self._take_samples()
        except BaseException as error:
            self.failure = error

    def _take_samples(self) -> None:
        while self._staging and (staged := self._staging.get()):
            self.trainer.offer(staged.sample, staged.states, self._parameters)
            self._staging.give_back(staged)

    def _after_layer(self, layer: nn.Module, inputs: Any, output: Any) -> None:
        self._breathe()
        if isinstance(output, Tensor) and output.requires_grad:
            output.register_hook(lambda gradient: self._breathe())

    def _breathe(self) -> None:
        if self.trainer.device.type == "cuda":
            torch.cuda.current_stream(self.trainer.device).synchronize()
        self.throttle.breathe(meanwhile=self._take_samples)

    @contextlib.contextmanager
    def _low_priority(self) -> Iterator[None]:
        device = self.trainer.device
        if device.type != "cuda":
            yield
            return
        with torch.cuda.device(device), torch.cuda.stream(torch.cuda.Stream(device, priority=0)):
            yield

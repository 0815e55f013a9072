"""Samples on their way from the solver to a trainer in another thread, on another stream."""

from dataclasses import dataclass
from queue import Empty, SimpleQueue

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Staged", "Staging"]


@dataclass
class Staged:
    """A copy of a sample.

    Attributes
    ----------
    sample
        Its number.
    states
        (members, components, *points), on the device.
    written, read
        On a GPU: when the copy is complete, and when its reader has done with it.
    """

    sample: int
    states: Tensor
    written: torch.cuda.Event | None = None
    read: torch.cuda.Event | None = None


class Staging:
    """A fixed number of copies that go round between the two sides, each of which belongs to one side at a time.

    Neither side waits for the other: where all copies are on the trainer's side, a sample is left out. On GPUs the copy is
    made on the stream of `put`, the stream of `get` waits for it by an event, and `put` takes a copy again when its reader's
    event has passed.

    Parameters
    ----------
    like
        (members, components, *points), any tensor of the shape, precision and device of the states.
    slots
        Copies.
    """

    def __init__(self, like: Float[Tensor, "members components *points"], slots: int = 4) -> None:
        self.dropped = 0
        self._free: SimpleQueue[Staged] = SimpleQueue()
        self._filled: SimpleQueue[Staged] = SimpleQueue()
        for _ in range(slots):
            empty = torch.empty_like(like, memory_format=torch.contiguous_format)
            events = (torch.cuda.Event(), torch.cuda.Event()) if like.is_cuda else (None, None)
            self._free.put(Staged(-1, empty, *events))

    def put(self, sample: int, states: Float[Tensor, "members components *points"]) -> bool:
        """Copy a sample, on the solver's side; False where there is no room."""
        try:
            staged = self._free.get_nowait()
        except Empty:
            self.dropped += 1
            return False
        if staged.read is not None and not staged.read.query():
            self._free.put(staged)
            self.dropped += 1
            return False
        staged.sample = sample
        staged.states.copy_(states)
        if staged.written is not None:
            staged.written.record()
        self._filled.put(staged)
        return True

    def get(self) -> Staged | None:
        """Take the next sample, on the trainer's side; None where there is none."""
        try:
            staged = self._filled.get_nowait()
        except Empty:
            return None
        if staged.written is not None:
            staged.written.wait()
        return staged

    def give_back(self, staged: Staged) -> None:
        """Return a sample that has been read, on the trainer's side."""
        if staged.read is not None:
            staged.read.record()
        self._free.put(staged)

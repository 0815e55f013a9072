"""Where states wait on the host to be written."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from insitu.bridge import from_array, torch_device
from insitu.fields.layout import Layout
from insitu.fields.variables import Variables
from solver import Simulation

__all__ = ["Staging", "staging_of"]


class Staging(ABC):
    """Room for one batch of states, (batch, members, variables, *points) of this rank.

    Attributes
    ----------
    is_shared
        Whether what `take` gave must be written before the next `put`.
    """

    is_shared: bool

    @abstractmethod
    def put(self, n: int, row: Tensor) -> None:
        """Copy what is written of a state, a row of snapshots (dof,) on the device, to place ``n`` of the batch."""

    @abstractmethod
    def take(self, count: int) -> Callable[[], np.ndarray]:
        """Return what waits for the first ``count`` states to be on the host and returns them, for any thread.

        All of an earlier batch must have been written.
        """


def staging_of(simulation: Simulation, variables: Variables, layout: Layout) -> Staging:
    """Return the staging of a simulation's states."""
    kind = _OnHost if simulation.device.is_host else _OnDevice
    return kind(simulation, variables, layout)


class _OnHost(Staging):
    """The copy from the solver's memory into a host array, which is counted as one that crosses on a GPU."""

    def __init__(self, simulation: Simulation, variables: Variables, layout: Layout):
        self._device, self._variables = simulation.device, variables
        self._members = _members(simulation, layout)
        self._whole = variables.are_the_state and len(self._members) == (simulation.members or 1)
        self._buffers = [
            np.empty((layout.batch, *layout.own_shape), layout.dtype)
            for _ in range(1 + (layout.batch > 1))
        ]
        self.is_shared = layout.batch == 1
        if not self._whole:
            self._chosen = torch.empty(layout.own_shape, dtype=_torch_type(layout))

    def put(self, n: int, row: Tensor) -> None:
        values = row
        if not self._whole:
            self._variables.of(row, self._members, self._chosen)
            values = self._chosen.reshape(-1)
        if len(values):
            from_array(self._device, values).copy_to(self._buffers[0][n].reshape(-1))

    def take(self, count: int) -> Callable[[], np.ndarray]:
        filled = self._buffers[0]
        self._buffers.reverse()
        return lambda: filled[:count]


class _OnDevice(Staging):
    """A copy on the device, and one to pinned memory on a stream of its own, so that the solver waits for neither."""

    is_shared = False

    def __init__(self, simulation: Simulation, variables: Variables, layout: Layout):
        self._variables, self._members = variables, _members(simulation, layout)
        device = torch_device(simulation.device)
        shape, dtype = (layout.batch, *layout.own_shape), _torch_type(layout)
        self._near = torch.empty(shape, dtype=dtype, device=device)
        self._host = torch.empty(shape, dtype=dtype, pin_memory=math.prod(shape) > 0)
        self._stream = torch.cuda.Stream(device)
        self._arrived = torch.cuda.Event()

    def put(self, n: int, row: Tensor) -> None:
        torch.cuda.current_stream(self._near.device).wait_event(self._arrived)
        self._variables.of(row, self._members, self._near[n])

    def take(self, count: int) -> Callable[[], np.ndarray]:
        self._stream.wait_stream(torch.cuda.current_stream(self._near.device))
        with torch.cuda.stream(self._stream):
            self._host[:count].copy_(self._near[:count], non_blocking=True)
            self._arrived.record()

        def ready() -> np.ndarray:
            self._arrived.synchronize()
            return self._host[:count].numpy()

        return ready


def _members(simulation: Simulation, layout: Layout) -> list[int]:
    """Return the members that are written, counted from this rank's first."""
    chosen = layout.members or (simulation.share.begin,)
    return [chosen[n] - simulation.share.begin for n in layout.own_members]


def _torch_type(layout: Layout) -> torch.dtype:
    return getattr(torch, str(layout.dtype))

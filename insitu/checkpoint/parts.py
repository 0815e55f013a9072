"""Parts of a run whose state is not their own business: the solver's, a streaming basis's, the random numbers."""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from insitu.bridge import as_torch, torch_device
from insitu.distributed import Distributed, Local
from insitu.reduction import StreamingPOD
from solver import Simulation

__all__ = ["RandomNumbers", "ReductionState", "SimulationState"]


class SimulationState:
    """The state of a `solver.Simulation`, its device memory seen through the bridge."""

    def __init__(self, simulation: Simulation):
        self._simulation = simulation

    def state_dict(self) -> dict[str, Any]:
        """Return views of its device memory and its numbers."""
        return {
            "memory": {name: Distributed(view) for name, view in self._views().items()},
            "numbers": self._simulation.numbers(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Write the memory of this rank and restore the rest; all ranks call it."""
        for name, view in self._views().items():
            view.copy_(state["memory"][name])
        self._simulation.restore(state["numbers"])

    def _views(self) -> dict[str, torch.Tensor]:
        """Return views with an axis of components, which a pressure lacks."""
        axes = len(self._simulation.grid.points)
        views = {name: as_torch(memory) for name, memory in self._simulation.memories().items()}
        return {name: view if view.ndim > axes else view[None] for name, view in views.items()}


class ReductionState:
    """The state of a `StreamingPOD` that has seen batches; other reductions have none before the end of a run."""

    def __init__(self, reduction: Any, simulation: Simulation):
        self._reduction, self._simulation = reduction, simulation

    def state_dict(self) -> dict[str, Any] | None:
        """Return modes and mean by points and the rest; None before the first batch."""
        if not isinstance(self._reduction, StreamingPOD) or not hasattr(self._reduction, "modes_"):
            return None
        state = self._reduction.state_dict()
        for name in ("modes", "mean", "root"):
            if state[name] is not None:
                state[name] = Distributed(state[name], is_flat=True)
        return state

    def load_state_dict(self, state: Mapping[str, Any] | None) -> None:
        """Go on with this rank's points of the modes; all ranks call it."""
        if state is None:
            return
        device = torch_device(self._simulation.device)
        here = {
            name: value.to(device) if isinstance(value, torch.Tensor) else value
            for name, value in state.items()
        }
        self._reduction.load_state_dict(here, self._simulation.comm)


class RandomNumbers:
    """The global generators of torch on host and GPU, NumPy and Python, of each rank."""

    def __init__(self, device: torch.device):
        self._device = device

    def state_dict(self) -> dict[str, Any]:
        """Return their states."""
        name, keys, *rest = np.random.get_state(legacy=True)
        version, numbers, spare = random.getstate()
        is_gpu = self._device.type == "cuda"
        return {
            "torch": Local(torch.get_rng_state()),
            "gpu": Local(torch.cuda.get_rng_state(self._device) if is_gpu else None),
            "numpy": Local([name, torch.from_numpy(np.asarray(keys, np.int64)), *rest]),
            "python": Local([version, list(numbers), spare]),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set them."""
        torch.set_rng_state(state["torch"])
        if state["gpu"] is not None and self._device.type == "cuda":
            torch.cuda.set_rng_state(state["gpu"], self._device)
        name, keys, *rest = state["numpy"]
        np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
        version, numbers, spare = state["python"]
        random.setstate((version, tuple(numbers), spare))

"""Where the time goes and where the bytes go, stage by stage."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from insitu import collectives
from insitu.bridge import to_host
from solver import Device

__all__ = ["Ledger", "Stage", "of_all_ranks"]

_COUNTED = ("host_to_device", "device_to_host", "device_to_device", "copies", "synchronizations")


@dataclass
class Stage:
    """One stage of a run.

    Attributes
    ----------
    seconds
        Wall time, the device finished at its end.
    host_to_device, device_to_host, device_to_device
        Bytes copied; host modes have one memory and nothing crosses.
    copies
        Copies of solver memory in any direction, within the host too.
    sampled
        Bytes of snapshots that kernels wrote on the device.
    synchronizations
        Times the host waited for the solver's stream.
    """

    name: str
    seconds: float = 0.0
    host_to_device: int = 0
    device_to_host: int = 0
    device_to_device: int = 0
    copies: int = 0
    sampled: int = 0
    synchronizations: int = 0


class Ledger:
    """Seconds and bytes by stage, from the counters of the device and of the collectives and every tensor brought to the host."""

    def __init__(self, device: Device):
        self._device = device
        self._stages: dict[str, Stage] = {}
        self._current: Stage | None = None

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        """Account what happens inside to a stage; a name used again adds up."""
        stage = self._stages.setdefault(name, Stage(name))
        before, start, self._current = self._transfers(), time.perf_counter(), stage
        try:
            yield stage
        finally:
            after = self._transfers()
            for key in _COUNTED:
                setattr(stage, key, getattr(stage, key) + after[key] - before[key])
            self._device.finish()
            stage.seconds += time.perf_counter() - start
            self._current = None

    def to_host(self, tensor: torch.Tensor) -> np.ndarray:
        """Bring a tensor to the host and account it to the stage of the moment."""
        if self._current is not None and tensor.device.type != "cpu":
            self._current.device_to_host += tensor.numel() * tensor.element_size()
        return to_host(tensor)

    def as_list(self) -> list[dict[str, Any]]:
        """Return the stages in the order they began, as plain values."""
        return [asdict(stage) for stage in self._stages.values()]

    def _transfers(self) -> dict[str, int]:
        staged = collectives.transfers()
        return {key: count + staged.get(key, 0) for key, count in self._device.transfers.items()}


def of_all_ranks(stages: list[dict[str, Any]], comm: Any) -> list[dict[str, Any]]:
    """Return stages with the seconds of the slowest rank and the bytes and counts of all; all ranks call it."""
    if comm is None:
        return stages
    everyone = comm.allgather(stages)
    return [
        {
            name: value
            if name == "name"
            else (max if name == "seconds" else sum)(each[name] for each in same)
            for name, value in same[0].items()
        }
        for same in zip(*everyone, strict=True)
    ]

"""Where the time goes and where the bytes go, stage by stage."""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from insitu.audit import Audit, Line, Transfers, merged
from insitu.bridge import to_host
from solver import Device

__all__ = ["Ledger", "Stage", "of_all_ranks", "sentence"]


@dataclass
class Stage:
    """One stage of a run.

    Attributes
    ----------
    seconds
        Wall time, the device finished at its end.
    steps
        Steps the simulation took.
    host_to_device, device_to_host, device_to_device
        Bytes copied, by whomever; host modes have one memory and nothing crosses.
    through_host
        Bytes of field data that passed between device and host; in host modes those copied between the solver's memory and
        host arrays, which cross on a GPU.
    copies
        Copies of solver memory in any direction, within the host too.
    sampled
        Bytes of snapshots that kernels wrote on the device.
    synchronizations
        Times the host waited for the device.
    transfers
        What crossed line by line, see `insitu.audit.Line`; of copies within the device, torch's on a GPU.
    """

    name: str
    seconds: float = 0.0
    steps: int = 0
    host_to_device: int = 0
    device_to_host: int = 0
    device_to_device: int = 0
    through_host: int = 0
    copies: int = 0
    sampled: int = 0
    synchronizations: int = 0
    transfers: list[Line] = field(default_factory=list)


class Ledger:
    """Seconds and bytes by stage, and the budget they are held to.

    Parameters
    ----------
    device : Device
    budget
        What may pass the host; without it, anything.
    comm : mpi4py.MPI.Comm, optional
        The ranks whose bytes add up; all of them go through the same stages.
    """

    def __init__(self, device: Device, budget: Transfers | None = None, comm: Any = None):
        self._device = device
        self._budget = budget or Transfers()
        self._comm = comm
        self._stages: dict[str, Stage] = {}
        self._open: Stage | None = None
        self._since = 0.0

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        """Account what happens inside to a stage; a name used again adds up.

        Raises
        ------
        TransferBudgetError
            At the end of the stage, on every rank: more passed the host than may.
        """
        stage = self._stages.setdefault(name, Stage(name))
        self._begin(stage)
        try:
            yield stage
        finally:
            self._end()
            self._device.finish()
            stage.seconds += time.perf_counter() - self._since
        if self._budget.limit(name, stage.steps) is not None:
            moved = self._comm.allreduce(stage.through_host) if self._comm else stage.through_host
            self._budget.check(name, stage.steps, moved, stage.transfers)

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Leave what happens inside out of the stage of the moment, but for its time."""
        stage = self._open
        if stage is None:
            yield
            return
        self._end()
        since = self._since
        try:
            yield
        finally:
            self._begin(stage)
            self._since = since

    def state_dict(self) -> list[dict[str, Any]]:
        """Return the stages of all ranks so far, as the report has them; all ranks call it, inside `aside`."""
        return of_all_ranks(self.as_list(), self._comm)

    def load_state_dict(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Take over such stages in place of those so far; rank 0 has the bytes of all."""
        self._stages = {}
        for values in state:
            stage = Stage(values["name"], values["seconds"], values["steps"])
            if self._comm is None or self._comm.rank == 0:
                lines = [Line(**line) for line in values["transfers"]]
                stage = Stage(**{**values, "transfers": lines})
            self._stages[stage.name] = stage

    def to_host(self, tensor: torch.Tensor) -> np.ndarray:
        """Bring a tensor to the host; the stage of the moment sees it."""
        return to_host(tensor)

    def as_list(self) -> list[dict[str, Any]]:
        """Return the stages in the order they began, as plain values, their lines in the order of where they come from."""
        for stage in self._stages.values():
            stage.transfers.sort(key=_origin_of)
        return [asdict(stage) for stage in self._stages.values()]

    def _begin(self, stage: Stage) -> None:
        self._open, self._audit = stage, Audit()
        self._before, self._since = self._device.transfers, time.perf_counter()
        self._audit.__enter__()

    def _end(self) -> None:
        """Account what happened since the beginning to the stage that is open."""
        audit, stage, before = self._audit, self._open, self._before
        audit.__exit__(None, None, None)
        self._open = None
        if stage is None:
            return
        after = self._device.transfers
        stage.copies += after["copies"] - before["copies"]
        stage.synchronizations += after["synchronizations"] - before["synchronizations"]
        stage.device_to_device += after["device_to_device"] - before["device_to_device"]
        stage.host_to_device += audit.bytes("host_to_device")
        stage.device_to_host += audit.bytes("device_to_host")
        lines = audit.lines
        others = [line for line in lines if not line.is_of_solver]
        stage.device_to_device += sum(
            line.bytes for line in others if line.direction == "device_to_device"
        )
        stage.synchronizations += sum(line.synchronizations for line in others)
        stage.through_host += audit.field_bytes
        stage.transfers = merged([*stage.transfers, *lines])


def _origin_of(line: Line) -> tuple[str, ...]:
    return line.who, line.where, line.operation, line.direction


def of_all_ranks(stages: list[dict[str, Any]], comm: Any) -> list[dict[str, Any]]:
    """Return stages with the seconds and steps of the slowest rank and the bytes and counts of all; all ranks call it."""
    if comm is None:
        return stages
    everyone = comm.allgather(stages)
    return [
        {name: _of_ranks(name, [each[name] for each in same]) for name in same[0]}
        for same in zip(*everyone, strict=True)
    ]


def _of_ranks(name: str, values: list[Any]) -> Any:
    if name == "name":
        return values[0]
    if name == "transfers":
        lines = merged([Line(**line) for lines in values for line in lines])
        lines.sort(key=_origin_of)
        return [asdict(line) for line in lines]
    return max(values) if name in ("seconds", "steps") else sum(values)


def sentence(loop: Mapping[str, Any], device: str) -> str:
    """Return in words what passed the host in a stage as the report has it."""
    own = sum(line["bytes"] for line in loop["transfers"] if line["kind"] == "control")
    beside = f", beside {own} bytes of the solver's own checks" if own else ""
    return f"{loop['through_host']} field bytes through the host over {loop['steps']} steps on {device}{beside}"

"""What the doctor examines: a simulation, what a model writes into it, and what is learnt from it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from insitu.bridge import as_torch, on_stream, torch_device
from insitu.config import Case, Learning
from insitu.models.windows import windows
from insitu.sampler import Sampler
from solver import Device, Simulation

__all__ = ["Advance", "Coupling", "coupling_of", "record"]

Advance = Callable[
    [float, int], None
]  # (time step, steps): takes them, the model acting before each


def record(simulation: Simulation, steps: int, every: int = 1) -> Float[Tensor, "time dof"]:
    """Advance and return the snapshots that a `Sampler` holds, one every so many steps."""
    rows = steps // every
    sampler = Sampler(
        simulation.device, simulation.u.interior.size, rows, every, str(simulation.u.dtype)
    )
    with on_stream(simulation.device):
        for _ in sampler.follow(simulation, steps=steps):
            pass
        return sampler.snapshots


@dataclass(frozen=True)
class Coupling:
    """A coupling in parts that can be examined one by one; what is None is not there.

    Attributes
    ----------
    simulate
        Makes the simulation, the same each time, with a time step of its own (``simulation.dt``).
    couple
        Binds the model to a simulation and returns what advances both.
    model
        What acts: called with the state as its first argument, its result is what is written. Its forward hooks are used.
    field
        Name of the auxiliary field that the model writes.
    record
        Advances and returns snapshots as the learning gets them, (time, dof).
    pairs
        Makes of snapshots what a model is trained on: inputs, (pairs, ..., dof), and targets, (pairs, dof).
    learning
        Reduction and forecasting model fitted to the snapshots.
    on_ranks
        Returns the state after so many steps on two ranks in the launcher's order and in the reverse one, each in the shape of
        the whole state, on the host.
    """

    simulate: Callable[[], Simulation]
    couple: Callable[[Simulation], Advance] | None = None
    model: nn.Module | None = None
    field: str | None = None
    record: Callable[..., Tensor] = record
    pairs: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None
    learning: Learning | None = None
    on_ranks: Callable[[int], tuple[Tensor, Tensor]] | None = None

    def run(self, steps: int, start: Tensor | None = None, dt: float | None = None) -> Simulation:
        """Return a new simulation after so many steps under the model, from the values given or its own."""
        simulation = self.simulate()
        with on_stream(simulation.device):
            if start is not None:
                as_torch(simulation.u).copy_(start)
            if self.couple is not None:
                self.couple(simulation)(dt or step_of(simulation), steps)
            else:
                simulation.take(dt or step_of(simulation), steps)
        return simulation


def step_of(simulation: Simulation) -> float:
    """Return the time step that a simulation takes by itself."""
    return simulation.dt or 0.5 * simulation.limit


def coupling_of(case: Case, device: Device, comm: Any = None) -> Coupling:
    """Return the coupling of a case: its simulation at a constant step, its closure, its snapshots and its learning.

    Raises
    ------
    DeviceError
        Torch cannot see the device's memory.
    """
    torch_device(device)
    constant = replace(case, time=replace(case.time, cfl=None), ranks=None)

    def simulate() -> Simulation:
        simulation = constant.simulation(device, comm)
        simulation.dt = step_of(simulation)
        return simulation

    def pairs(rows: Tensor) -> tuple[Tensor, Tensor]:
        return windows(rows, case.learning.model.history)

    closure = case.closure
    if closure is None:
        return Coupling(simulate, pairs=pairs, learning=case.learning)
    return Coupling(
        simulate,
        lambda simulation: closure.build(simulation).take,
        closure.model,
        closure.field,
        pairs=pairs,
        learning=case.learning,
    )


def state(simulation: Simulation) -> Tensor:
    """Return a copy of the state, ([members,] components, *points), on the device."""
    with on_stream(simulation.device):
        return as_torch(simulation.u).clone()


def seeded_like(tensor: Tensor, size: float) -> Tensor:
    """Return the same random numbers each time, of a shape, dtype and device, of the given root mean square."""
    numbers = torch.randn(
        tensor.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    return (size * numbers).to(tensor)

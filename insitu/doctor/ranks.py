"""The check of ranks: the same simulation on two ranks, in the launcher's order and in the reverse one."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from insitu import ending
from insitu.config import Case, as_yaml
from insitu.doctor.coupling import Coupling, coupling_of, state
from insitu.doctor.finding import Fault, Skip
from solver import Device, NavierStokes, Simulation, name_of_run

__all__ = ["check_ranks", "launching", "run_both_orders"]

_STEPS = 5
_SECONDS = 50
_EXPLICIT, _PRESSURE = (
    0.0,
    1e-6,
)  # of the largest value: what ranks may change, with a pressure solve and without


def check_ranks(coupling: Coupling) -> str:
    """Check that two ranks, in either order, give the answer of one."""
    if coupling.on_ranks is None:
        raise Skip("the coupling says nothing of ranks")
    simulation = coupling.run(_STEPS)
    alone = state(simulation).cpu()
    largest = float(alone.abs().max()) or 1.0
    limit = _PRESSURE if isinstance(simulation.equation, NavierStokes) else _EXPLICIT
    names = ("in their order", "in reverse order")
    for name, shared in zip(names, coupling.on_ranks(_STEPS), strict=True):
        off = float((shared - alone).abs().max()) / largest
        if not off <= limit:
            raise Fault(
                f"two ranks {name} must give the answer of one, they are off by {off:.1e} of the largest value; give the model "
                "the cells around its block, insitu.FieldModel, and let nothing depend on the number of a rank"
            )
    return f"two ranks, in either order, give the {'answer' if limit else 'bits'} of one"


def launching(plain: Mapping[str, Any]) -> Callable[[int], tuple[Tensor, Tensor]]:
    """Return what runs a case, given as plain values, on two ranks of the MPI beside this Python."""

    def run(steps: int) -> tuple[Tensor, Tensor]:
        if ending.is_launched():
            raise Skip("this process belongs to a launcher; start the doctor without mpirun")
        launcher = shutil.which(
            "mpirun", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        )
        if launcher is None:
            raise Skip("no mpirun is found; put it on PATH")
        with tempfile.TemporaryDirectory() as folder:
            case, states = Path(folder) / "case.yaml", Path(folder) / "states.npy"
            case.write_text(as_yaml(plain))
            module = [sys.executable, "-m", "insitu.doctor", str(case), str(steps), str(states)]
            oversubscribed = {
                "MPIR_CVAR_POLLS_BEFORE_YIELD": "10",
                "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
            }
            done = subprocess.run(
                [launcher, "-n", "2", *module],
                env={**os.environ, **oversubscribed},
                capture_output=True,
                text=True,
                timeout=_SECONDS,
            )
            if done.returncode:
                said = done.stderr.strip().splitlines() or ["nothing said"]
                raise Fault(f"the case does not run on two ranks: {said[-1]}")
            first, second = torch.from_numpy(np.load(states))
        return first, second

    return run


def whole(simulation: Simulation, comm: Any) -> np.ndarray | None:
    """Return the state of all ranks on rank 0 of ``comm``, ([members,] components, *points)."""
    parts = comm.gather((simulation.share.as_numbers(), simulation.u.to_host()))
    if parts is None:
        return None
    everything = np.empty(simulation.shape, simulation.u.dtype)
    for numbers, values in parts:
        box = tuple(
            slice(b, b + n) for b, n in zip(numbers["begin"], numbers["points"], strict=True)
        )
        lead = () if simulation.members is None else (slice(*numbers["members"]),)
        everything[(*lead, slice(None), *box)] = values
    return everything


def run_both_orders(case: Case, steps: int, file: Path, world: Any) -> None:
    """Advance a case on all ranks of ``world``, then with the ranks in reverse; rank 0 writes both states, in this order."""
    device = Device.open(name_of_run(case.device), world)
    states = []
    for comm in (world, world.Split(0, -world.rank)):
        states.append(whole(coupling_of(case, device, comm).run(steps), comm))
    everyone = world.gather(states)
    if everyone is not None:
        np.save(file, np.stack([everyone[0][0], everyone[-1][1]]))

"""The ranks a launcher started: whether MPI sees them all, and whether they do the same."""

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

from insitu.case_errors import CaseError
from insitu.ending import LAUNCHED

__all__ = ["is_first", "require_alike", "require_one_world"]

# SLURM_NTASKS is no evidence: it stands in a whole allocation, where nothing need be launched.
_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")


def is_first(comm: Any) -> bool:
    """Return whether this rank speaks for all: rank 0, of the launcher's ranks where MPI sees none of the others."""
    if comm is not None and comm.size > 1:
        return comm.rank == 0
    return all(os.environ.get(name, "0") == "0" for name in LAUNCHED)


def require_one_world(comm: Any) -> None:
    """Make sure that MPI sees all ranks that the launcher started.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm or None
        MPI's world.

    Raises
    ------
    CaseError
        The launcher belongs to another MPI, so that each of its ranks is alone in a world of its own.
    """
    size = 1 if comm is None else comm.size
    told = [os.environ.get(name, "") for name in _SIZES]
    launched = max((int(text) for text in told if text.isdigit()), default=1)
    if launched > size:
        raise CaseError(
            f"the launcher started {launched} ranks, MPI sees {size}; start it with the mpirun of the MPI that mpi4py uses"
        )


def require_alike(comm: Any, values: Mapping[str, Any]) -> None:
    """Make sure that all ranks hold the same values.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm or None
        All its ranks take part.
    values
        JSON-like values by name, nested ones too.

    Raises
    ------
    CaseError
        On all ranks; it names the first value that differs.
    """
    if comm is None or comm.size == 1:
        return
    text = json.dumps(values, sort_keys=True, default=str)
    if len(set(comm.allgather(hashlib.sha256(text.encode()).digest()))) == 1:
        return
    first, *others = [_flat(json.loads(each)) for each in comm.allgather(text)]
    for rank, other in enumerate(others, 1):
        for key in sorted(first.keys() | other.keys()):
            if first.get(key) != other.get(key):
                raise CaseError(
                    f"{key} must be the same on all ranks, got {first.get(key)!r} on rank 0 and {other.get(key)!r} "
                    f"on rank {rank}; start all ranks with one case and the same flags"
                )


def _flat(values: Any, key: str = "") -> dict[str, Any]:
    if not isinstance(values, dict):
        return {key: values}
    parts = (_flat(value, f"{key}.{name}".lstrip(".")) for name, value in values.items())
    return {name: value for part in parts for name, value in part.items()}

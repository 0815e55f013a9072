"""``state.json``: where a run stands, for scripts that decide whether to submit it again."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from insitu.collectives import size_of

__all__ = ["is_finished", "read_standing", "write_standing"]


def write_standing(folder: Path, content: Mapping[str, Any]) -> None:
    """Write ``state.json`` whole or not at all; one rank calls it.

    Raises
    ------
    OSError
        There is no room; the file is what it was.
    """
    unfinished = folder / f".state.json.{os.getpid()}"
    try:
        unfinished.write_text(json.dumps(content, indent=2) + "\n")
        unfinished.replace(folder / "state.json")
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise


def read_standing(folder: Path) -> dict[str, Any]:
    """Return what ``state.json`` holds: status, stage, step, time, checkpoint, reason; nothing where there is none."""
    try:
        content = json.loads((folder / "state.json").read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def is_finished(folder: Path, comm: Any = None) -> bool:
    """Return whether a run directory holds a run that reached its end; rank 0 looks for all."""
    is_first = comm is None or comm.rank == 0
    found = is_first and read_standing(folder).get("status") == "finished"
    return found if size_of(comm) == 1 else bool(comm.bcast(found))

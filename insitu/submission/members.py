"""Members of an ensemble of jobs: the flags of each."""

import itertools
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from insitu.case_errors import CaseError

__all__ = ["lines", "members_of"]


def members_of(given: Sequence[str]) -> list[list[str]]:
    """Return the flags of each member.

    Parameters
    ----------
    given
        Files (YAML: a list of keys and values for each member, or of one mapping from keys to lists of values, a sweep over all
        their combinations), and sweeps ``KEY=[VALUE, ...]``. Several multiply.

    Raises
    ------
    CaseError
        Something is neither, or there is no member.
    """
    factors = [_of(each) for each in given]
    combined = (
        {key: value for part in parts for key, value in part.items()}
        for parts in itertools.product(*factors)
    )
    flags = [[f"--{key}={_text(value)}" for key, value in member.items()] for member in combined]
    if not flags:
        raise CaseError(f"--array must give members, got none from {', '.join(given)}; add some")
    return flags


def lines(members: Sequence[Sequence[str]]) -> str:
    """Return the file that a job script reads: a line for each member, quoted for the shell."""
    return "".join(f"{shlex.join(flags)}\n" for flags in members)


def _of(given: str) -> list[dict[str, Any]]:
    key, is_sweep, values = given.partition("=")
    try:
        read = (
            {key: yaml.safe_load(values)} if is_sweep else yaml.safe_load(Path(given).read_text())
        )
    except (OSError, yaml.YAMLError) as error:
        raise CaseError(
            f"--array must be KEY=[VALUE, ...] or a YAML file, got {given} ({str(error).splitlines()[0]}); correct it"
        ) from None
    if isinstance(read, list) and all(isinstance(member, dict) for member in read):
        return read
    if isinstance(read, dict) and all(isinstance(values, list) for values in read.values()):
        return [
            dict(zip(read, values, strict=True)) for values in itertools.product(*read.values())
        ]
    raise CaseError(
        f"--array must give a list of values for each key, or a list of members, got {given}; write it as KEY=[VALUE, ...]"
    )


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    if "\n" in text:
        raise CaseError(f"a value of --array must be on one line, got {text!r}; shorten it")
    return text

"""The fields over time that a run leaves, as its case asks for them."""

import math
from dataclasses import dataclass
from typing import Literal

from insitu.case_errors import CaseError

__all__ = ["FILES", "FieldFile"]

FILES = {"vtkhdf": "fields.vtkhdf", "zarr": "fields.zarr"}


@dataclass(frozen=True)
class FieldFile:
    """A file of the fields over time, beside the other results of the run.

    Parameters
    ----------
    format
        "vtkhdf": ``fields.vtkhdf``, for ParaView. "zarr": ``fields.zarr``, for xarray.
    every
        Steps between two states in the file, a multiple of sampling.every; null takes every snapshot.
    interval
        Instead of every: simulated time between them, a multiple of the time between snapshots.
    variables
        Names of what is written: components of the state (u, or u, v, w), pressure, vorticity; null takes the state.
    members
        Numbers of the members of an ensemble that are written; null takes all.
    """

    format: Literal["vtkhdf", "zarr"] = "vtkhdf"
    every: int | None = None
    interval: float | None = None
    variables: list[str] | None = None
    members: list[int] | None = None

    def __post_init__(self) -> None:
        if self.every is not None and self.interval is not None:
            raise CaseError(
                f"fields needs every or interval, got {self.every} and {self.interval}; leave one out"
            )
        if self.every is not None and self.every < 1:
            raise CaseError(f"fields.every must be 1 or more steps, got {self.every}; correct it")
        if self.interval is not None and not 0 < self.interval < math.inf:
            raise CaseError(
                f"fields.interval must be a positive time, got {self.interval}; give it in the equation's unit"
            )
        for name, chosen in (("variables", self.variables), ("members", self.members)):
            if chosen is not None and (not chosen or len(set(chosen)) < len(chosen)):
                raise CaseError(
                    f"fields.{name} must name at least one, each once, got {chosen}; leave it out for all"
                )

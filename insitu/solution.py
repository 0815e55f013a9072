"""What is learnt from: a `solver.Simulation`, or the fields of an application that steps itself."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from solver import Device, Grid, Ranks, Share

__all__ = ["Solution", "State"]


@runtime_checkable
class State(Protocol):
    """The state of a rank's block, as an array is described."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``([members,] components, *points)``."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of a value."""


@runtime_checkable
class Solution(Protocol):
    """Where a solution lives, which part of it this rank has, and where it stands.

    For the attributes see `solver.Simulation`.
    """

    @property
    def device(self) -> Device: ...  # noqa: D102

    @property
    def grid(self) -> Grid: ...  # noqa: D102

    @property
    def equation(self) -> Any: ...  # noqa: D102

    @property
    def comm(self) -> Any: ...  # noqa: D102

    @property
    def ranks(self) -> Ranks: ...  # noqa: D102

    @property
    def share(self) -> Share: ...  # noqa: D102

    @property
    def shares(self) -> list[dict[str, list[int]]]: ...  # noqa: D102

    @property
    def members(self) -> int | None: ...  # noqa: D102

    @property
    def u(self) -> State: ...  # noqa: D102

    @property
    def shape(self) -> Sequence[int]: ...  # noqa: D102

    @property
    def step(self) -> int: ...  # noqa: D102

    @property
    def time(self) -> float: ...  # noqa: D102

    @property
    def dt_taken(self) -> float | None: ...  # noqa: D102

    @property
    def limit(self) -> float | None: ...  # noqa: D102

"""A snapshot matrix whose columns are spread over ranks, read a part at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from insitu.collectives import total

__all__ = ["Snapshots", "lift", "project", "squared_norms"]

_LEAST_PART = 1 << 18  # values


@dataclass(frozen=True)
class Snapshots:
    """Columns of X − m, those of one rank.

    The difference is never stored whole: `parts` makes it of a few columns at a time, so that a
    pass over the data needs its own memory and O(time²) more.

    Attributes
    ----------
    values
        X (time, features of this rank), all ranks with the same times, on any device.
    mean
        m (features of this rank,), None for 0.
    features
        Number of features of all ranks together.
    comm : mpi4py.MPI.Comm or None
        The ranks.
    """

    values: Float[Tensor, "time features"]
    mean: Float[Tensor, " features"] | None = None
    features: int = 0
    comm: Any = None

    @property
    def is_wide(self) -> bool:
        """Whether a snapshot has more features, on all ranks together, than there are snapshots."""
        return self.features > len(self.values)

    @property
    def smaller_side(self) -> int:
        """The number of snapshots or features, whichever is less: the most modes there can be."""
        return min(len(self.values), self.features)

    def parts(self) -> Iterator[tuple[slice, Float[Tensor, "time some"]]]:
        """Yield which columns, and X − m there: views of X where there is no mean."""
        time, features = self.values.shape
        width = max(4 * time, _LEAST_PART // time)
        for start in range(0, features, width):
            columns = slice(start, start + width)
            part = self.values[:, columns]
            yield columns, part if self.mean is None else part - self.mean[columns]


def project(
    snapshots: Snapshots, modes: Float[Tensor, "rank features"]
) -> Float[Tensor, "time rank"]:
    """Return (X − m) Φᵀ over the features of all ranks, the same bits on every rank."""
    coefficients = snapshots.values.new_zeros(len(snapshots.values), len(modes))
    for columns, part in snapshots.parts():
        coefficients += part @ modes[:, columns].T
    return total(snapshots.comm, coefficients)


def lift(
    snapshots: Snapshots, weights: Float[Tensor, "rank time"]
) -> Float[Tensor, "rank features"]:
    """Return the combinations W (X − m) of snapshots, at the features of this rank."""
    lifted = snapshots.values.new_empty(len(weights), snapshots.values.shape[1])
    for columns, part in snapshots.parts():
        lifted[:, columns] = weights @ part
    return lifted


def squared_norms(
    snapshots: Snapshots,
    coefficients: Float[Tensor, "time rank"],
    modes: Float[Tensor, "rank features"],
) -> tuple[float, float]:
    """Return ‖X − m − a Φ‖² and ‖X‖², over the features of all ranks, summed in float64."""
    sums = torch.zeros(2, dtype=torch.float64, device=modes.device)
    for columns, part in snapshots.parts():
        rest = torch.addmm(part, coefficients, modes[:, columns], alpha=-1)
        sums[0] += torch.linalg.vector_norm(rest).double().square()
        sums[1] += torch.linalg.vector_norm(snapshots.values[:, columns]).double().square()
    error, norm = total(snapshots.comm, sums).tolist()
    return error, norm

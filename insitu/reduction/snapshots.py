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
    """Columns of X = diag(f) (S − m) diag(√w), below the rows of another such matrix; those of one rank.

    X is never stored whole: `parts` makes it of a few columns at a time, so that a pass over the
    data needs its own memory and O(time²) more.

    Attributes
    ----------
    values
        S (time, features of this rank), all ranks with the same times, on any device.
    mean
        m (features of this rank,), None for 0.
    features
        Number of features of all ranks together.
    comm : mpi4py.MPI.Comm or None
        The ranks.
    root
        √w (features of this rank,), w the diagonal of the inner product's matrix; None for 1.
    factors
        f (time,), None for 1.
    above
        What stands above these rows, of the same features, ranks and dtype; None for nothing.
    precision
        Type that X is made of and computed in; None for that of the values.
    """

    values: Float[Tensor, "time features"]
    mean: Float[Tensor, " features"] | None = None
    features: int = 0
    comm: Any = None
    root: Float[Tensor, " features"] | None = None
    factors: Float[Tensor, " time"] | None = None
    above: "Snapshots | None" = None
    precision: torch.dtype | None = None

    @property
    def count(self) -> int:
        """The number of rows."""
        return len(self.values) + (0 if self.above is None else self.above.count)

    @property
    def dtype(self) -> torch.dtype:
        """The type of the parts."""
        return self.precision or self.values.dtype

    @property
    def is_wide(self) -> bool:
        """Whether a snapshot has more features, on all ranks together, than there are snapshots."""
        return self.features > self.count

    @property
    def smaller_side(self) -> int:
        """The number of snapshots or features, whichever is less: the most modes there can be."""
        return min(self.count, self.features)

    def parts(self) -> Iterator[tuple[slice, Float[Tensor, "rows some"]]]:
        """Yield which columns, and X there: views of S where X is S."""
        features = self.values.shape[1]
        width = max(4 * self.count, _LEAST_PART // max(1, self.count))
        for start in range(0, features, width):
            columns = slice(start, start + width)
            yield columns, self._part(columns)

    def weighted(
        self, rows: Float[Tensor, "rank features"], columns: slice
    ) -> Float[Tensor, "rank some"]:
        """Return some columns of other rows, times √w."""
        part = rows[:, columns]
        return part if self.root is None else part * self.root[columns]

    def _part(self, columns: slice) -> Tensor:
        part = self.values[:, columns].to(self.dtype)
        if self.mean is not None:
            part = part - self.mean[columns]
        if self.root is not None:
            part = part * self.root[columns]
        if self.factors is not None:
            part = self.factors[:, None] * part
        return part if self.above is None else torch.cat([self.above._part(columns), part])


def project(
    snapshots: Snapshots, modes: Float[Tensor, "rank features"]
) -> Float[Tensor, "time rank"]:
    """Return (S − m) diag(w) Φᵀ over the features of all ranks, the same bits on every rank."""
    coefficients = snapshots.values.new_zeros(len(snapshots.values), len(modes))
    for columns, part in snapshots.parts():
        coefficients += part @ snapshots.weighted(modes, columns).T
    return total(snapshots.comm, coefficients)


def lift(
    snapshots: Snapshots, weights: Float[Tensor, "rank time"]
) -> Float[Tensor, "rank features"]:
    """Return the combinations W X of snapshots, at the features of this rank, in their own dtype."""
    lifted = snapshots.values.new_empty(len(weights), snapshots.values.shape[1])
    for columns, part in snapshots.parts():
        lifted[:, columns] = weights @ part
    return lifted


def squared_norms(
    snapshots: Snapshots,
    coefficients: Float[Tensor, "time rank"],
    modes: Float[Tensor, "rank features"],
) -> tuple[float, float]:
    """Return ‖S − m − a Φ‖² and ‖S‖², weighted, over the features of all ranks, summed in float64."""
    sums = torch.zeros(2, dtype=torch.float64, device=modes.device)
    for columns, part in snapshots.parts():
        rest = torch.addmm(part, coefficients, snapshots.weighted(modes, columns), alpha=-1)
        whole = snapshots.weighted(snapshots.values, columns)
        sums[0] += torch.linalg.vector_norm(rest).double().square()
        sums[1] += torch.linalg.vector_norm(whole).double().square()
    error, norm = total(snapshots.comm, sums).tolist()
    return error, norm

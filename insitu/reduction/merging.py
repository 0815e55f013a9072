"""A truncated decomposition of all snapshots so far, and the merge of the next batch into it."""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from insitu.collectives import on_first, total
from insitu.reduction.decompositions import gram_on_first, modes_of, triangle_on_first
from insitu.reduction.snapshots import Snapshots
from insitu.reduction.stopping import Truncation

__all__ = ["Decomposition", "merge", "nothing", "unit_round_off", "weighted_norm"]

_LENGTH = 32  # round-off of a long scalar product, summed in blocks, in units of ε
_MARGIN = 100.0  # a Gram matrix serves where what is truncated is so many times its noise


@dataclass(frozen=True)
class Decomposition:
    """What is known of the samples s seen so far: C ≈ Φᵀ Σ² Φ for C = Σ (s − m)ᵀ (s − m).

    Each truncation takes a positive semidefinite part from C: C = Φᵀ Σ² Φ + L + round-off with
    tr L the sum of all σ² ever truncated, each known. For the projection P on the first r modes,
    Σ ‖(s − m)(1 − P)‖² = tr (1 − P) C (1 − P) = Σ_{k>r} σ_k² + tr (1 − P) L ≤ Σ_{k>r} σ_k² + tr L.
    Squares add up, not norms: nothing better can be said without knowing more of L than its trace.

    Attributes
    ----------
    modes
        Φ (kept, features of this rank), in the dtype of the snapshots, Φ diag(w) Φᵀ = 1.
    singular_values
        Diagonal of Σ (kept,), descending, in the unit of the weighted norm, float64.
    mean
        m (features of this rank,), float64; None where it is not subtracted.
    samples
        Number of samples seen.
    total
        tr C, in the squared unit of the weighted norm.
    lost
        tr L, in the squared unit of the weighted norm.
    round_off
        What arithmetic is taken to have added to the norm of the error: of independent roundings,
        merge by merge in squares, not of the worst case.
    drift
        What roundings of the mean are taken to have added, likewise; a mean of more samples keeps
        less of the round-off of that of fewer.

    Notes
    -----
    Source: Higham & Mary 2019, doi:10.1137/18M1226312, for round-off.
    """

    modes: Float[Tensor, "kept features"]
    singular_values: Float[Tensor, " kept"]
    mean: Float[Tensor, " features"] | None
    samples: int = 0
    total: float = 0.0
    lost: float = 0.0
    round_off: float = 0.0
    drift: float = 0.0


def merge(
    known: Decomposition,
    batch: Snapshots,
    truncation: Truncation,
) -> Decomposition:
    """Return the decomposition of the samples known and a batch of new ones, truncated.

    The rows Σ Φ, the batch B minus its mean m_B, and √(n b / (n + b)) (m_B − m) have the same
    matrix C as all n + b samples about their common mean, but for what was truncated before. They
    are decomposed by their Gram matrix where its noise is far below what the truncation takes
    anyway, else by a tree of QR factors; sums and small matrices are in float64.

    Parameters
    ----------
    known
        What was returned for the batches before; `nothing` for the first.
    batch
        B, without a mean.
    truncation
        How many modes to keep.

    Returns
    -------
    Decomposition
        On every rank its own block of the modes and the mean; the same bits of all else.

    Notes
    -----
    Source: Ross, Lim, Lin & Yang 2008, doi:10.1007/s11263-007-0075-7, for the mean.
    """
    rows, mean = _stacked(known, batch)
    samples = known.samples + len(batch.values)
    vectors, squares, noise = _factors(rows, known, truncation, samples)
    modes, sigma = modes_of(rows, vectors, squares[: vectors.shape[1]].sqrt())
    return Decomposition(
        modes,
        sigma,
        mean,
        samples,
        _total(known, squares),
        known.lost + float(squares[len(sigma) :].sum()) + noise,
        _round_off(known, rows, squares, modes.dtype),
        0.0 if mean is None else _drift(known, rows, mean, samples),
    )


def nothing(batch: Snapshots, is_centred: bool) -> Decomposition:
    """Return the decomposition of no samples, to merge the first batch into."""
    values = batch.values
    mean = values.new_zeros(values.shape[1], dtype=torch.float64) if is_centred else None
    return Decomposition(values[:0], values.new_zeros(0, dtype=torch.float64), mean)


def unit_round_off(dtype: torch.dtype) -> float:
    """Return u = ε / 2, the most by which one rounding changes a number, relative to it."""
    return torch.finfo(dtype).eps / 2


def weighted_norm(comm: Any, row: Float[Tensor, " features"], root: Tensor | None) -> float:
    """Return ‖r‖ of a row over the features of all ranks."""
    weighted = row.double() if root is None else row.double() * root
    return float(total(comm, weighted.square().sum())) ** 0.5


def _stacked(known: Decomposition, batch: Snapshots) -> tuple[Snapshots, Tensor | None]:
    """Return the rows to decompose and the mean of all samples."""
    precise = replace(batch, precision=torch.float64)
    n, b = known.samples, len(batch.values)
    above = replace(precise, values=known.modes, factors=known.singular_values)
    if known.mean is None:
        return replace(precise, above=above), None
    mean = _mean(batch.values)
    shift = mean - known.mean
    factor = shift.new_full((1,), math.sqrt(n * b / (n + b)))
    above = replace(precise, values=shift[None], factors=factor, above=above)
    return replace(precise, mean=mean, above=above), known.mean + shift * (b / (n + b))


def _mean(values: Tensor) -> Tensor:
    mean = values.new_empty(values.shape[1], dtype=torch.float64)
    for columns, part in Snapshots(values, precision=torch.float64).parts():
        mean[columns] = part.mean(dim=0)
    return mean


def _total(known: Decomposition, squares: Tensor) -> float:
    return known.total + float(squares.sum() - known.singular_values.square().sum())


def _round_off(
    known: Decomposition, rows: Snapshots, squares: Tensor, stored: torch.dtype
) -> float:
    """Return `Decomposition.round_off`: one more rounding of all modes, and products of so many rows for what is new."""
    unit, energy = unit_round_off(rows.dtype), float(squares.sum())
    new = max(0.0, _total(known, squares) - known.total)
    again = (unit_round_off(stored) + unit) * energy**0.5
    return math.hypot(known.round_off, again, unit * (rows.count * new) ** 0.5)


def _drift(known: Decomposition, rows: Snapshots, mean: Tensor, samples: int) -> float:
    """Return `Decomposition.drift`: the mean, rounded once more, is subtracted from every sample."""
    kept = known.drift * (known.samples / samples) ** 0.5
    rounded = 0.5 * unit_round_off(rows.dtype) * samples**0.5
    return math.hypot(kept, rounded * weighted_norm(rows.comm, mean, rows.root))


def _factors(
    rows: Snapshots, known: Decomposition, truncation: Truncation, samples: int
) -> tuple[Tensor, Tensor, float]:
    """Return the left vectors to keep, σ² of all, and the energy that the method may have missed."""
    epsilon, device = torch.finfo(rows.dtype).eps, rows.values.device

    def kept(squares: Tensor) -> int:
        return truncation.kept_between(squares, known.lost, _total(known, squares), samples)

    if rows.is_wide:
        gram = gram_on_first(rows)

        def by_gram() -> tuple[Tensor, Tensor, float] | None:
            values, vectors = torch.linalg.eigh(gram)
            squares = values.flip(0).clamp(min=0)
            most = kept(squares)
            noise = (rows.count + _LENGTH) * epsilon * float(squares.sum())
            if float(squares[most:].sum()) < _MARGIN * noise:
                return None
            return vectors.flip(1)[:, :most].contiguous(), squares, noise

        found = on_first(rows.comm, by_gram, device)
        if found is not None:
            return found
    triangle = triangle_on_first(rows)

    def by_triangle() -> tuple[Tensor, Tensor, float]:
        vectors, sigma, _ = torch.linalg.svd(triangle.T, full_matrices=False)
        above_noise = int((sigma > rows.smaller_side * epsilon * sigma[0]).sum())
        most = min(kept(sigma.square()), above_noise)
        return vectors[:, :most].contiguous(), sigma.square(), 0.0

    return on_first(rows.comm, by_triangle, device)

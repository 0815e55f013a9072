"""Two ways to the singular values and left vectors of snapshots spread over ranks, and the modes they make."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from insitu.collectives import fold, on_first, total_on_first
from insitu.reduction.snapshots import Snapshots, lift

__all__ = [
    "METHODS",
    "direct_svd",
    "gram_on_first",
    "method_of_snapshots",
    "modes_of",
    "noise_floor",
    "triangle_on_first",
]

Factors = tuple[Tensor, Tensor]

_SIGN_DECIDES = 2 / 3  # no cosine of a rational angle: equally spaced times do not tie


def direct_svd(snapshots: Snapshots) -> Factors:
    """Thin singular value decomposition X = V Σ Φ by a tall-skinny QR, without Φ.

    Every rank reduces its own columns to a triangle R, RᵀR = X Xᵀ, a part at a time; pairs of
    ranks stack their triangles and reduce them again, along a binary tree; the last one is
    decomposed on rank 0. Singular values below n ε σ₁, n = min(time, features), are round-off
    and dropped.

    Returns
    -------
    tuple of Tensor
        V (time, available), orthonormal columns, dimensionless, and singular values (available,),
        descending, in the unit of X; the same bits on every rank.

    Notes
    -----
    Source: Demmel, Grigori, Hoemmen & Langou 2012, doi:10.1137/080731992; Golub & Van Loan 2013,
    section 2.4, ISBN 978-1-4214-0794-4.
    """
    factor = triangle_on_first(snapshots)
    floor = snapshots.smaller_side * torch.finfo(factor.dtype).eps

    def decompose() -> Factors:
        vectors, sigma, _ = torch.linalg.svd(factor.T, full_matrices=False)
        return _above(floor, vectors, sigma)

    return on_first(snapshots.comm, decompose, factor.device)


def method_of_snapshots(snapshots: Snapshots) -> Factors:
    """Eigenvectors of the Gram matrix, X Xᵀ v = σ² v, summed over the ranks.

    The Gram matrix squares the condition number: singular values below `noise_floor` · σ₁ are
    noise and dropped. Where there are fewer features than snapshots the smaller matrix of both is
    decomposed.

    Returns
    -------
    tuple of Tensor
        V (time, available), orthonormal columns, dimensionless, and singular values (available,),
        descending, in the unit of X; the same bits on every rank.

    Notes
    -----
    Source: Sirovich 1987, part I, doi:10.1090/qam/910462.
    """
    floor = noise_floor(snapshots.smaller_side, snapshots.dtype)
    factor = gram_on_first(snapshots) if snapshots.is_wide else triangle_on_first(snapshots)

    def decompose() -> Factors:
        gram = factor if snapshots.is_wide else factor @ factor.T
        eigenvalues, vectors = torch.linalg.eigh(gram)
        sigma = eigenvalues.flip(0).clamp(min=0).sqrt()
        vectors, sigma = _above(floor, vectors.flip(1), sigma)
        if not snapshots.is_wide:
            vectors = torch.linalg.qr(factor.T @ (vectors / sigma)).Q
        return vectors, sigma

    return on_first(snapshots.comm, decompose, snapshots.values.device)


def modes_of(
    snapshots: Snapshots, vectors: Float[Tensor, "time rank"], sigma: Float[Tensor, " rank"]
) -> tuple[Float[Tensor, "kept features"], Float[Tensor, " kept"]]:
    """Modes Φ = Σ⁻¹ Vᵀ X at the features of this rank, orthonormal over all ranks.

    Dividing by σ_k amplifies the round-off of mode k by σ₁/σ_k. With the Cholesky factor L of
    Φ Φᵀ, the rows of L⁻¹ Φ are orthonormal again, and the singular value decomposition of the
    small Σ L corrects V, Σ and Φ together. The sign of a mode is such that the first snapshot
    whose coefficient is more than two thirds of the largest one has a positive coefficient.

    Parameters
    ----------
    snapshots
        X.
    vectors, sigma
        The first columns of V and singular values, the same on every rank.

    Returns
    -------
    tuple of Tensor
        Modes (kept, features of this rank), orthonormal with the weights w of the snapshots, in
        their dtype, and singular values (kept,), in the unit of X, the same bits on every rank;
        kept < rank where modes depend on those before.

    Notes
    -----
    Source: Stathopoulos & Wu 2002, doi:10.1137/S1064827500370883.
    """
    modes = lift(snapshots, (vectors / sigma).T)
    lifted = Snapshots(modes, comm=snapshots.comm, precision=snapshots.precision)
    overlap = gram_on_first(lifted)
    rotation, sigma = on_first(
        snapshots.comm, lambda: _correction(overlap, vectors, sigma), modes.device
    )
    modes = modes[: len(sigma)]
    for columns, part in Snapshots(modes, precision=snapshots.precision).parts():
        modes[:, columns] = rotation @ part
    if snapshots.root is not None:
        modes /= snapshots.root
    return modes, sigma


def noise_floor(size: int, dtype: torch.dtype) -> float:
    """Return √(n ε): the least σ/σ₁ that a Gram matrix of n rows can resolve."""
    return (size * torch.finfo(dtype).eps) ** 0.5


def triangle_on_first(snapshots: Snapshots) -> Float[Tensor, "rows time"]:
    """Return R with RᵀR = X Xᵀ on rank 0: at most `time` rows, a part of the sum elsewhere."""
    factor = snapshots.values.new_empty((0, snapshots.count), dtype=snapshots.dtype)
    for _, part in snapshots.parts():
        factor = _stacked(factor, part.T)
    return fold(snapshots.comm, factor, _stacked)


def _stacked(
    upper: Float[Tensor, "above time"], lower: Float[Tensor, "below time"]
) -> Float[Tensor, "rows time"]:
    both = torch.cat([upper, lower])
    return both if len(both) <= both.shape[1] else torch.linalg.qr(both, mode="r").R


def gram_on_first(snapshots: Snapshots) -> Float[Tensor, "time time"]:
    """Return X Xᵀ on rank 0."""
    time = snapshots.count
    gram = snapshots.values.new_zeros((time, time), dtype=snapshots.dtype)
    for _, part in snapshots.parts():
        gram.addmm_(part, part.T)
    return total_on_first(snapshots.comm, gram)


def _above(floor: float, vectors: Tensor, sigma: Tensor) -> Factors:
    kept = int((sigma > floor * sigma[0]).sum())
    return vectors[:, :kept].contiguous(), sigma[:kept].contiguous()


def _correction(overlap: Tensor, vectors: Tensor, sigma: Tensor) -> Factors:
    """Return what makes the lifted modes orthonormal singular vectors, (kept, rank), and Σ."""
    triangle = _independent_factor(overlap)
    kept = len(triangle)
    left, sigma, right = torch.linalg.svd(sigma[:kept, None] * triangle)
    rotation = torch.linalg.solve_triangular(triangle, right, upper=False, left=False)
    return _signs(vectors[:, :kept] @ left)[:, None] * rotation, sigma


def _independent_factor(overlap: Float[Tensor, "rank rank"]) -> Float[Tensor, "kept kept"]:
    """Return the Cholesky factor of the leading vectors up to the first that depends on others."""
    triangle, failed_at = torch.linalg.cholesky_ex(overlap)
    least = torch.finfo(overlap.dtype).eps ** 0.5 * overlap.diagonal()
    is_independent = triangle.diagonal().square() > least
    if failed_at:
        is_independent[failed_at - 1 :] = False
    kept = int(is_independent.int().cumprod(0).sum())
    return triangle[:kept, :kept]


def _signs(vectors: Float[Tensor, "time rank"]) -> Float[Tensor, " rank"]:
    sizes = vectors.abs()
    deciding = (sizes > _SIGN_DECIDES * sizes.max(dim=0).values).int().argmax(dim=0)
    return vectors.gather(0, deciding[None])[0].sign()


METHODS: dict[str, Callable[[Snapshots], Factors]] = {
    "svd": direct_svd,
    "snapshots": method_of_snapshots,
}

"""Two ways to the singular values and modes of a snapshot matrix."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["METHODS", "direct_svd", "method_of_snapshots", "noise_floor"]


def direct_svd(
    snapshots: Float[Tensor, "samples features"],
) -> tuple[Float[Tensor, "rank features"], Float[Tensor, " rank"]]:
    """Thin singular value decomposition X = V Σ Φ.

    Modes whose singular value is below ε σ₁ are orthonormal, but round-off.

    Parameters
    ----------
    snapshots
        X, (samples, features), finite.

    Returns
    -------
    tuple of Tensor
        Modes Φ (rank, features) with orthonormal rows, dimensionless, and singular values
        (rank,), descending, in the unit of X; rank = min(samples, features).

    Notes
    -----
    Source: Golub & Van Loan 2013, section 2.4, ISBN 978-1-4214-0794-4.
    """
    _, sigma, modes = torch.linalg.svd(snapshots, full_matrices=False)
    return modes, sigma


def method_of_snapshots(
    snapshots: Float[Tensor, "samples features"],
) -> tuple[Float[Tensor, "rank features"], Float[Tensor, " rank"]]:
    """Eigenvectors of the smaller Gram matrix, X Xᵀ v = σ² v or Xᵀ X φ = σ² φ.

    The Gram matrix squares the condition number: singular values below `noise_floor` · σ₁ are
    noise, and they and their modes are dropped.

    Parameters
    ----------
    snapshots
        X, (samples, features), finite.

    Returns
    -------
    tuple of Tensor
        Modes (rank, features) with orthonormal rows, dimensionless, and singular values (rank,),
        descending, in the unit of X.

    Notes
    -----
    Source: Sirovich 1987, part I, doi:10.1090/qam/910462.
    """
    samples, features = snapshots.shape
    is_wide = features > samples
    gram = snapshots @ snapshots.T if is_wide else snapshots.T @ snapshots
    eigenvalues, vectors = torch.linalg.eigh(gram)
    sigma = eigenvalues.flip(0).clamp(min=0).sqrt()
    kept = int((sigma > noise_floor(snapshots) * sigma[0]).sum())
    sigma, vectors = sigma[:kept], vectors.flip(1)[:, :kept]
    if not is_wide:
        return vectors.T, sigma
    # Lifting amplifies the round-off of vector k by σ₁/σ_k; QR makes the modes orthonormal again.
    lifted, _ = torch.linalg.qr(snapshots.T @ (vectors / sigma))
    return lifted.T, sigma


def noise_floor(snapshots: Float[Tensor, "samples features"]) -> float:
    """Return √(n ε), n the size of the Gram matrix: the least σ/σ₁ it can resolve."""
    return (min(snapshots.shape) * torch.finfo(snapshots.dtype).eps) ** 0.5


METHODS: dict[str, Callable[[Tensor], tuple[Tensor, Tensor]]] = {
    "svd": direct_svd,
    "snapshots": method_of_snapshots,
}

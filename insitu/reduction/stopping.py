"""How many modes are kept: by count, by tolerance, by energy."""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["cumulative_energy", "kept_rank", "require_rules"]


def kept_rank(
    singular_values: Float[Tensor, " available"],
    rank: int | None,
    tolerance: float | None,
    energy: float | None,
) -> int:
    """Smallest rank that satisfies every error rule, capped by `rank`.

    tolerance: √(Σ_{k>r} σ_k²) ≤ tolerance · √(Σ σ_k²);  energy: Σ_{k≤r} σ_k² ≥ energy · Σ σ_k².
    Without an error rule it is `rank`, without any rule all that is available; at least 1.

    Parameters
    ----------
    singular_values
        (available,), descending, not all zero.
    rank, tolerance, energy
        The rules, None where a rule is not set.

    Returns
    -------
    int
        Number of modes, 1 ≤ r ≤ available.
    """
    available = len(singular_values)
    squares = (singular_values.double() / singular_values[0].double()).square()
    # Summed from the small end, else the tail is lost in the round-off of the whole.
    tail = squares.flip(0).cumsum(0).flip(0)
    rest = torch.cat([tail[1:], tail.new_zeros(1)])
    needed = [1]
    if tolerance is not None:
        needed.append(1 + int((rest > tolerance**2 * tail[0]).sum()))
    if energy is not None:
        needed.append(1 + int((rest > (1 - energy) * tail[0]).sum()))
    if len(needed) == 1:
        needed.append(available)
    return min(max(needed), available if rank is None else rank, available)


def cumulative_energy(singular_values: Float[Tensor, " available"]) -> Float[Tensor, " available"]:
    """Σ_{k≤r} σ_k² / Σ σ_k² for r = 1, 2, ...; dimensionless, (available,), same dtype."""
    squares = (singular_values.double() / singular_values[0].double()).square()
    return (squares.cumsum(0) / squares.sum()).to(singular_values.dtype)


def require_rules(rank: int | None, tolerance: float | None, energy: float | None) -> None:
    """Check the stopping rules of a reduction.

    Raises
    ------
    ValueError
        A rule is out of its range.
    """
    if rank is not None and rank < 1:
        raise ValueError(f"reduction.rank must be >= 1, got {rank}; correct the case")
    if tolerance is not None and not 0 <= tolerance < 1:
        raise ValueError(f"reduction.tolerance must be in [0, 1), got {tolerance}; correct it")
    if energy is not None and not 0 < energy <= 1:
        raise ValueError(f"reduction.energy must be in (0, 1], got {energy}; correct it")

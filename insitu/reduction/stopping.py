"""How many modes are kept: by count, by tolerance, by energy."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Truncation", "cumulative_energy", "kept_rank", "require_rules"]


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


@dataclass(frozen=True)
class Truncation:
    """How many modes a decomposition of a stream keeps between its batches, and how many it shows.

    Of N samples whose squared norms sum to T, an error √e is allowed, e the least of
    tolerance² T, (1 − energy) T and absolute_tolerance² N, as far as they are set. Between
    batches (1 − ω²) e may be lost for good; what is shown may err by e as a whole.

    Attributes
    ----------
    rank
        The most modes shown.
    tolerance, energy, absolute_tolerance
        The error rules, None where a rule is not set.
    oversampling
        Spare modes kept between batches beyond those shown, ≥ 0.
    omega
        ω in (0, 1).

    Notes
    -----
    Source: Himpe, Leibner & Rave 2018, doi:10.1137/16M1085413, for ε* and ω; losses add up in
    squares here, see `insitu.reduction.merging`, so no share depends on the number of batches.
    """

    rank: int | None
    tolerance: float | None
    energy: float | None
    absolute_tolerance: float | None
    oversampling: int
    omega: float

    def __post_init__(self) -> None:
        require_rules(self.rank, self.tolerance, self.energy)
        if self.absolute_tolerance is not None and not self.absolute_tolerance >= 0:
            raise ValueError(
                f"reduction.absolute_tolerance must be >= 0, got {self.absolute_tolerance}; "
                "correct it"
            )
        if self.oversampling < 0:
            raise ValueError(
                f"reduction.oversampling must be >= 0, got {self.oversampling}; correct it"
            )
        if not 0 < self.omega < 1:
            raise ValueError(f"reduction.omega must be in (0, 1), got {self.omega}; try 0.95")

    def kept_between(
        self, squares: Float[Tensor, " available"], lost: float, total: float, samples: int
    ) -> int:
        """Return how many modes to keep until the next batch.

        Parameters
        ----------
        squares
            σ² of all modes after the merge, (available,), descending, float64.
        lost
            Σ of the σ² lost in earlier merges.
        total, samples
            T and N.
        """
        allowed = self._allowed(total, samples)
        most = len(squares) if self.rank is None else self.rank + self.oversampling
        if allowed is None:
            return min(most, len(squares))
        needed = _fewest(squares, (1 - self.omega**2) * allowed - lost)
        spare = _fewest(squares, allowed - lost) + self.oversampling
        return min(most, max(needed, spare), len(squares))

    def shown(
        self,
        squares: Float[Tensor, " kept"],
        lost: float,
        total: float,
        samples: int,
        round_off: float,
    ) -> int:
        """Return how many of the modes kept to show; `round_off` adds to the error itself."""
        allowed = self._allowed(total, samples)
        most = len(squares) if self.rank is None else min(self.rank, len(squares))
        if allowed is None:
            return most
        return min(most, _fewest(squares, max(allowed**0.5 - round_off, 0.0) ** 2 - lost))

    def _allowed(self, total: float, samples: int) -> float | None:
        rules = [
            None if self.tolerance is None else self.tolerance**2 * total,
            None if self.energy is None else (1 - self.energy) * total,
            None if self.absolute_tolerance is None else self.absolute_tolerance**2 * samples,
        ]
        return min((rule for rule in rules if rule is not None), default=None)


def _fewest(squares: Float[Tensor, " available"], allowed: float) -> int:
    """Return the smallest r ≥ 1 with Σ_{k>r} σ_k² ≤ allowed, all where there is none."""
    # Summed from the small end, else the tail is lost in the round-off of the whole.
    tail = squares.flip(0).cumsum(0).flip(0)
    return min(max(1, int((tail > allowed).sum())), len(squares))

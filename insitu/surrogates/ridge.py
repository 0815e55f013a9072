"""Least squares with a ridge that held-out samples choose."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Normal", "choose_ridge", "monomials", "monomial_count"]

# Relative to the largest eigenvalue of the normal matrix.
_RIDGES = tuple(10.0**n for n in range(-15, -1))


@dataclass
class Normal:
    """The normal equations of a fit, which samples are added to a few at a time.

    Attributes
    ----------
    matrix, right : Tensor
        (features, features) and (features, targets).
    """

    matrix: Tensor
    right: Tensor

    @classmethod
    def of(
        cls, features: Float[Tensor, "samples f"], targets: Float[Tensor, "samples t"]
    ) -> "Normal":
        """Return those of some samples."""
        return cls(features.T @ features, features.T @ targets)

    def __add__(self, other: "Normal") -> "Normal":
        return Normal(self.matrix + other.matrix, self.right + other.right)

    def solve(self, ridges: tuple[float, ...]) -> list[Float[Tensor, "f t"]]:
        """Return the coefficients for each ridge."""
        values, vectors = torch.linalg.eigh(self.matrix)
        rotated = vectors.T @ self.right
        least = values.clamp(min=0)[:, None]
        return [vectors @ (rotated / (least + ridge * values[-1])) for ridge in ridges]


def choose_ridge(
    fitted: Normal, everything: Normal, loss: Callable[[Tensor], Tensor]
) -> tuple[Float[Tensor, "f t"], float]:
    """Return the coefficients for all samples with the ridge that was best, and its loss.

    Parameters
    ----------
    fitted : Normal
        Of all samples but the held-out ones.
    everything : Normal
    loss : callable
        From coefficients to their loss over the held-out samples.
    """
    losses = [float(loss(coefficients)) for coefficients in fitted.solve(_RIDGES)]
    best = min(range(len(losses)), key=losses.__getitem__)
    return everything.solve((_RIDGES[best],))[0], losses[best]


def monomial_count(variables: int, degree: int) -> int:
    """Return the number of monomials up to a degree, the constant included."""
    count, term = 1, 1
    for n in range(1, degree + 1):
        term = term * (variables + n - 1) // n
        count += term
    return count


def monomials(
    values: Float[Tensor, "samples variables"], degree: int
) -> Float[Tensor, "samples f"]:
    """Return all monomials up to a degree."""
    found = [torch.ones_like(values[:, :1])]
    lasts = [values[:, n : n + 1] for n in range(values.shape[1])]
    for power in range(1, degree + 1):
        found += lasts
        if power < degree:
            tails = torch.cat(lasts, 1)
            starts = [0]
            for last in lasts[:-1]:
                starts.append(starts[-1] + last.shape[1])
            lasts = [values[:, n : n + 1] * tails[:, starts[n] :] for n in range(values.shape[1])]
    return torch.cat(found, 1)

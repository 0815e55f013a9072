"""Which pairs are trained on and which are held out, so that no sample is in both."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Int
from torch import Tensor

__all__ = ["Members", "Split", "TimeBlocks", "leaks"]


class Split(ABC):
    """Deals the pairs of a run out to training and validation while it goes on."""

    @abstractmethod
    def training(self, first: int, last: int, members: int) -> range:
        """Return the members whose pair of the samples numbered `first` and `last` is trained on."""

    @abstractmethod
    def validation(self, first: int, last: int, members: int) -> range:
        """Return the members whose pair of the samples numbered `first` and `last` is held out."""


class TimeBlocks(Split):
    """Blocks of time are held out, for all members alike: of every block/fraction samples the last `block`.

    A pair whose samples, or a sample between them, lie in two blocks belongs to neither part.

    Parameters
    ----------
    fraction
        Of the samples that are held out; 0 holds out nothing.
    block
        Samples in a held-out block; it must exceed the stride of the pairs, as must the samples between two blocks.

    Raises
    ------
    ValueError
        A value is out of its range.
    """

    def __init__(self, fraction: float = 0.2, block: int = 8) -> None:
        _require(0 <= fraction < 1, "fraction", "in [0, 1)", fraction)
        _require(block >= 1, "block", ">= 1", block)
        self.fraction, self.block = fraction, block
        self.period = max(block + 1, round(block / fraction)) if fraction else 0

    def training(self, first: int, last: int, members: int) -> range:
        """Return all members where both samples lie between the same two held-out blocks."""
        block, held_out = self._block_of(first)
        return range(members if (block, held_out) == self._block_of(last) and not held_out else 0)

    def validation(self, first: int, last: int, members: int) -> range:
        """Return all members where both samples lie in the same held-out block."""
        block, held_out = self._block_of(first)
        return range(members if (block, held_out) == self._block_of(last) and held_out else 0)

    def require_longer_than(self, stride: int) -> None:
        """Refuse blocks that no pair of this stride fits into.

        Raises
        ------
        ValueError
            A block, or the samples between two, has no more samples than the stride.
        """
        shortest = min(self.block, self.period - self.block) if self.period else stride + 1
        _require(
            shortest > stride,
            "block",
            f"> the stride {stride}, and so the samples between two blocks",
            shortest,
        )

    def _block_of(self, sample: int) -> tuple[int, bool]:
        if not self.period:
            return 0, False
        number, within = divmod(sample, self.period)
        return number, within >= self.period - self.block


class Members(Split):
    """The last members of an ensemble are held out, for the whole run.

    Parameters
    ----------
    fraction
        Of the members that are held out, at least one of them; all of the run's other pairs are trained on.

    Raises
    ------
    ValueError
        The fraction is out of its range.
    """

    def __init__(self, fraction: float = 0.2) -> None:
        _require(0 < fraction < 1, "fraction", "in (0, 1)", fraction)
        self.fraction = fraction

    def training(self, first: int, last: int, members: int) -> range:
        """Return the members that are never held out."""
        return range(members - self._held_out(members))

    def validation(self, first: int, last: int, members: int) -> range:
        """Return the members that are held out."""
        return range(members - self._held_out(members), members)

    def _held_out(self, members: int) -> int:
        _require(members > 1, "split", "by time for a single solution", "by members")
        return min(members - 1, max(1, round(self.fraction * members)))


def leaks(training: Int[Tensor, "trained 3"], validation: Int[Tensor, "held 3"]) -> int:
    """Return how many held-out pairs share time with a training pair of their member.

    Parameters
    ----------
    training, validation
        The first sample, the last sample and the member of each pair, see `Buffer.origins`.
    """
    mine, other = validation[:, None], training[None]
    shares: Bool[Tensor, "held trained"] = (
        (mine[..., 2] == other[..., 2])
        & (mine[..., 0] <= other[..., 1])
        & (other[..., 0] <= mine[..., 1])
    )
    return int(shares.any(dim=1).sum()) if torch.numel(shares) else 0


def _require(valid: bool, name: str, expected: str, got: object) -> None:
    if not valid:
        raise ValueError(
            f"online.validation.{name} must be {expected}, got {got}; correct the case"
        )

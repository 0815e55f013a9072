"""What all ranks of a simulation agree on."""

import math
from typing import Any

import numpy as np

__all__ = ["Ranks"]


class Ranks:
    """Reductions of single numbers over the ranks of a communicator; every rank gets the same bits.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm or None
        None: this rank is alone.

    Attributes
    ----------
    rank, size : int
    """

    def __init__(self, comm: Any):
        self._comm = comm if comm is not None and comm.size > 1 else None
        self.size: int = 1 if self._comm is None else self._comm.size
        self.rank: int = 0 if self._comm is None else self._comm.rank

    def sum(self, number: int) -> int:
        """Return the sum of the ranks' numbers."""
        return sum(self.all(number))

    def add(self, numbers: np.ndarray) -> np.ndarray:
        """Return the sum of the ranks' arrays, float64, of one shape, added in the order of the ranks."""
        if self._comm is None:
            return numbers
        every = np.empty((self.size, *numbers.shape))
        self._comm.Allgather(numbers, every)
        return every.sum(axis=0)

    def largest(self, number: float) -> float:
        """Return the largest of the ranks' numbers, NaN where one of them is NaN."""
        numbers = self.all(number)
        return math.nan if any(math.isnan(each) for each in numbers) else max(numbers)

    def all(self, value: Any) -> list[Any]:
        """Return the values of all ranks, in their order."""
        return [value] if self._comm is None else self._comm.allgather(value)

    def first(self, key: Any) -> Any:
        """Return the smallest of the ranks' keys that are not None."""
        return min(each for each in self.all(key) if each is not None)

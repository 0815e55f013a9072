"""Uneven shares of one thing for the ranks of a communicator."""

import numpy as np
import torch

COUNTS = (1, 2, 3, 4, 6, 8)


def block(comm, length):
    """The slice of this rank: lengths grow with the rank, as 2 : 3 : 4 : ..."""
    weights = np.arange(2, comm.size + 2)
    ends = np.rint(length * np.cumsum([0, *weights]) / weights.sum()).astype(int)
    return slice(ends[comm.rank], ends[comm.rank + 1])


def are_alike(comm, *tensors):
    """Whether every rank holds the same bits."""
    bits = [(tensor.dtype, tensor.numpy(force=True).tobytes()) for tensor in tensors]
    return len(set(comm.allgather(tuple(bits)))) == 1


def orthonormal(rows, columns, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(columns, rows, generator=generator, dtype=torch.float64)).Q.T

"""Tensors and failures across the ranks of an MPI communicator; None stands for one rank everywhere."""

import contextlib
import io
import math
import pickle
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from solver import mpi

__all__ = [
    "fold",
    "gathered",
    "on_first",
    "size_of",
    "together",
    "total",
    "total_on_first",
    "transfers",
]

Result = TypeVar("Result")

_SUMMED = (torch.float32, torch.float64, torch.int64)
_staged = {"host_to_device": 0, "device_to_host": 0}


def size_of(comm: Any) -> int:
    """Return the number of ranks."""
    return 1 if comm is None else comm.size


def total(comm: Any, values: Tensor) -> Tensor:
    """Sum `values` over the ranks, elementwise.

    They are added on rank 0 and broadcast, so every rank holds the same bits.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm or None
    values
        Of one shape and dtype (float32, float64 or int64) on every rank, on any device. Device
        memory goes through the host where MPI does not take it, see `transfers`.

    Returns
    -------
    Tensor
        On every rank, on its own device; with one rank, `values` itself.

    Raises
    ------
    TypeError
        Another dtype: MPI libraries refuse it, or sum it wrongly without a word.
    """
    if size_of(comm) == 1:
        return values
    summed = _reduced(comm, values)
    comm.Bcast(summed, root=0)
    return _returned(summed, values.device)


def total_on_first(comm: Any, values: Tensor) -> Tensor:
    """Sum `values` over the ranks as `total` does, on rank 0 only; the others get their own back."""
    if size_of(comm) == 1:
        return values
    summed = _reduced(comm, values)
    return _returned(summed, values.device) if comm.rank == 0 else values


def fold(comm: Any, value: Tensor, combine: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Combine one tensor of each rank along a binary tree, so that no rank holds more than two.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm or None
    value
        This rank's tensor, (rows, columns), as many columns on every rank, one dtype.
    combine
        Makes one tensor of those of two neighbours in the tree, lower rank first.

    Returns
    -------
    Tensor
        The whole on rank 0, a part of it elsewhere.

    Raises
    ------
    TypeError
        The dtype is none of float32, float64, int64.
    """
    step = 1
    while step < size_of(comm):
        if comm.rank % (2 * step):
            comm.send(len(value), comm.rank - step)
            comm.Send(_buffer(comm, value), comm.rank - step)
            break
        if comm.rank + step < comm.size:
            rows = comm.recv(source=comm.rank + step)
            other = _empty(comm, value, (rows, value.shape[1]))
            comm.Recv(other, source=comm.rank + step)
            value = combine(value, _returned(other, value.device))
        step *= 2
    return value


def gathered(comm: Any, root: int, value: Tensor, shapes: Sequence[Sequence[int]]) -> list[Tensor]:
    """Bring one tensor of each rank to one of them.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
    root
        The rank that gets them.
    value
        This rank's tensor, of one dtype (float32, float64 or int64) on every rank.
    shapes
        Of every rank's tensor, known to all.

    Returns
    -------
    list of Tensor
        In order of rank on `root`, on its own device; empty elsewhere.

    Raises
    ------
    TypeError
        Another dtype.
    """
    sent = _buffer(comm, value)
    if comm.rank != root:
        comm.Gatherv(sent, None, root)
        return []
    sizes = [math.prod(shape) for shape in shapes]
    received = _empty(comm, value, (sum(sizes),))
    comm.Gatherv(sent, [received, sizes], root)
    parts = _returned(received, value.device).split(sizes)
    return [part.view(tuple(shape)) for part, shape in zip(parts, shapes, strict=True)]


def on_first(comm: Any, compute: Callable[[], Result], device: torch.device) -> Result:
    """Compute on rank 0 and give every rank the very same result.

    What every rank needs alike and one can compute: done everywhere, processors of different make
    could differ in the last bits, and replicas that differ drift apart.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm or None
    compute
        Called on rank 0; its result can be pickled.
    device
        Where this rank wants the tensors in the result.

    Returns
    -------
    Result
        On every rank.

    Raises
    ------
    Exception
        Whatever `compute` raises, on every rank.
    """
    if size_of(comm) == 1:
        return compute()
    with together(comm):
        result = compute() if comm.rank == 0 else None
    if comm.rank == 0:
        packed = io.BytesIO()
        torch.save(result, packed)
        _count("device_to_host", device, len(comm.bcast(packed.getvalue())))
        return result  # type: ignore[return-value]
    content = comm.bcast(None)
    _count("host_to_device", device, len(content))
    return torch.load(io.BytesIO(content), map_location=device, weights_only=False)


@contextlib.contextmanager
def together(comm: Any) -> Iterator[None]:
    """Raise on every rank what any of them raises inside; the block itself must not communicate.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm or None

    Raises
    ------
    Exception
        A rank's own, or that of the lowest rank that failed.
    """
    if size_of(comm) == 1:
        yield
        return
    own: BaseException | None = None
    try:
        yield
    except (Exception, SystemExit) as error:
        own = error
    failed, total_failed = np.array([own is not None], np.int32), np.empty(1, np.int32)
    comm.Allreduce(failed, total_failed)
    if total_failed[0]:
        failures = [
            error for error in comm.allgather(_portable(own, comm.rank)) if error is not None
        ]
        raise own or failures[0]


def transfers() -> dict[str, int]:
    """Return the bytes that collectives took between host and device so far, by direction."""
    return dict(_staged)


def _reduced(comm: Any, values: Tensor) -> Tensor:
    """Return the sum on rank 0, in memory that MPI takes."""
    sent = _buffer(comm, values)
    summed = torch.empty_like(sent)
    comm.Reduce(sent, summed, root=0)
    return summed


def _buffer(comm: Any, values: Tensor) -> Tensor:
    """Return contiguous memory that MPI takes, finished by the device, with the values in it."""
    if values.dtype not in _SUMMED:
        raise TypeError(
            f"collectives: expected float32, float64 or int64, got {values.dtype}; convert it, for "
            "example with values.float()"
        )
    values = values.detach().contiguous()
    if values.device.type == "cpu":
        return values
    if mpi.gpu_aware(comm):
        torch.cuda.current_stream(values.device).synchronize()
        return values
    _count("device_to_host", values.device, values.nbytes)
    return values.cpu()


def _empty(comm: Any, like: Tensor, shape: tuple[int, ...]) -> Tensor:
    is_staged = like.device.type != "cpu" and not mpi.gpu_aware(comm)
    return like.new_empty(shape, device="cpu" if is_staged else like.device)


def _returned(received: Tensor, device: torch.device) -> Tensor:
    if received.device != device:
        _count("host_to_device", device, received.nbytes)
    return received.to(device)


def _count(direction: str, device: torch.device, size: int) -> None:
    if device.type != "cpu":
        _staged[direction] += size


def _portable(error: BaseException | None, rank: int) -> BaseException | None:
    """Return the error as other ranks can receive it, with where it comes from: by its text where it cannot be pickled."""
    if error is None:
        return None
    try:
        told = pickle.loads(pickle.dumps(error))
    except Exception:
        told = RuntimeError(f"{type(error).__name__}: {error}")
    told.add_note(f"raised on rank {rank}:\n{''.join(traceback.format_exception(error)).rstrip()}")
    return told

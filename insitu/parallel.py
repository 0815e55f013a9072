"""One training set and one gradient for all ranks: torch's DistributedDataParallel inside the launched MPI world."""

import contextlib
import itertools
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from insitu.collectives import size_of, total

__all__ = ["Share", "process_group", "replica"]


@dataclass(frozen=True)
class Share:
    """The samples of this rank among those of all ranks, which are counted in order of rank.

    Attributes
    ----------
    first
        Number of the first sample here.
    count
        Samples here, at least one.
    total
        Samples of all ranks.
    """

    first: int
    count: int
    total: int

    @classmethod
    def of(cls, comm: Any, count: int) -> "Share":
        """Agree on who holds which samples; a call that all ranks make together.

        Raises
        ------
        ValueError
            A rank has no samples.
        """
        counts = [count] if size_of(comm) == 1 else comm.allgather(count)
        if size_of(comm) > 1 and 0 in counts:
            raise ValueError(
                f"training: expected samples on every rank, got {', '.join(map(str, counts))}; "
                "share them out or train on fewer ranks"
            )
        firsts = [0, *itertools.accumulate(counts)]
        return cls(firsts[0 if comm is None else comm.rank], count, firsts[-1])

    def here(self, samples: Int[Tensor, " some"]) -> Int[Tensor, " held"]:
        """Return which of the numbered `samples` are here, counted from the first one here."""
        held = (samples >= self.first) & (samples < self.first + self.count)
        return samples[held] - self.first


@contextlib.contextmanager
def replica(module: nn.Module, comm: Any) -> Iterator[nn.Module]:
    """Yield a module whose backward pass leaves the gradient summed over all ranks, everywhere.

    Parameters
    ----------
    module
        The network of this rank; all ranks begin with the weights of rank 0. With one rank it is
        what is yielded.
    comm : mpi4py.MPI.Comm or None
        The ranks. The gradients travel by NCCL where each rank has a GPU of its own, else by MPI.

    Raises
    ------
    ValueError
        The module normalises over a batch, which no rank sees whole.
    RuntimeError
        torch.distributed is in use with other ranks.
    """
    if size_of(comm) == 1:
        yield module
        return
    _require_samples_apart(module)
    device = next(module.parameters()).device
    with process_group(comm, device):
        parallel = DistributedDataParallel(module)
        if dist.get_backend() == "nccl":
            parallel.register_comm_hook(None, _sum_by_nccl)
        else:
            parallel.register_comm_hook(comm, _sum_by_mpi)
        yield parallel


@contextlib.contextmanager
def process_group(comm: Any, device: torch.device) -> Iterator[None]:
    """Keep torch's process group open inside the block, on the ranks of `comm`.

    Rank 0 opens a store on a free port and tells the others through MPI. A group that is open
    already is used and left open, so a run that trains often may hold one around all of it.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
        More than one rank.
    device
        Where the tensors are: NCCL where each rank has a GPU of its own, else gloo.

    Raises
    ------
    RuntimeError
        The open group has other ranks.
    """
    if dist.is_initialized():
        if (dist.get_rank(), dist.get_world_size()) != (comm.rank, comm.size):
            raise RuntimeError(
                f"torch.distributed: expected rank {comm.rank} of {comm.size} as in MPI, got "
                f"{dist.get_rank()} of {dist.get_world_size()}; close that process group first"
            )
        yield
        return
    hosts = comm.allgather(socket.gethostname())
    host = "127.0.0.1" if len(set(hosts)) == 1 else hosts[0]
    port, store = None, None
    if comm.rank == 0:
        store = dist.TCPStore(host, 0, comm.size, is_master=True, wait_for_workers=False)
        port = store.port
    port = comm.bcast(port)
    store = store or dist.TCPStore(host, port, comm.size, is_master=False)
    backend, bound = ("nccl", device) if _has_own_gpu(comm, device) else ("gloo", None)
    dist.init_process_group(
        backend, store=store, rank=comm.rank, world_size=comm.size, device_id=bound
    )
    try:
        yield
    finally:
        dist.destroy_process_group()


def _has_own_gpu(comm: Any, device: torch.device) -> bool:
    """Whether every rank has a GPU that no other rank has."""
    gpu = None
    if device.type == "cuda" and dist.is_nccl_available():
        gpu = str(torch.cuda.get_device_properties(device).uuid)
    gpus = comm.allgather(gpu)
    return None not in gpus and len(set(gpus)) == comm.size


def _sum_by_mpi(comm: Any, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
    summed: torch.futures.Future[Tensor] = torch.futures.Future()
    summed.set_result(total(comm, bucket.buffer()))
    return summed


def _sum_by_nccl(_: None, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
    work = dist.all_reduce(bucket.buffer(), async_op=True)
    return work.get_future().then(lambda done: done.value()[0])


def _require_samples_apart(module: nn.Module) -> None:
    for name, part in module.named_modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            raise ValueError(
                "training: expected a module that treats samples apart on several ranks, got "
                f"{type(part).__name__} as '{name}'; normalise over channels or groups instead"
            )

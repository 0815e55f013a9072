"""Values between the devices of several ranks."""

import functools
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from solver._occa import Memory
from solver.device import Device
from solver.mpi import gpu_aware

__all__ = ["Gathering", "Messages"]


class Messages:
    """The same exchange again and again: one message to each of some ranks, one from each of some.

    MPI takes the values where they are: from the host's memory, or from the GPU's where it can; elsewhere they are staged
    through pinned host memory, which the device's `transfers` count and rank 0 says once. All ranks of the communicator make
    their exchanges in one order.

    Parameters
    ----------
    device : Device
    comm : mpi4py.MPI.Comm
    dtype : str
    outgoing, incoming : mapping of int to int
        Values for each rank and from each rank, in the order in which they lie in memory.

    Attributes
    ----------
    outgoing, incoming : Memory
        The values, one after the other, on the device.
    is_staged : bool
        Whether they pass through the host.
    """

    def __init__(
        self,
        device: Device,
        comm: Any,
        dtype: str,
        outgoing: Mapping[int, int],
        incoming: Mapping[int, int],
    ):
        self._device = device
        self.outgoing = device.allocate((sum(outgoing.values()),), dtype)
        self.incoming = device.allocate((sum(incoming.values()),), dtype)
        self.is_staged = _is_staged(device, comm)
        self._sent = _buffer(device, self.outgoing, self.is_staged)
        self._received = _buffer(device, self.incoming, self.is_staged)
        self._comm = comm
        self._to, self._of = _parts(self._sent, outgoing), _parts(self._received, incoming)
        self._requests: list[Any] = []

    def start(self) -> None:
        """Send what lies in `outgoing`, which must stay as it is until `finish`."""
        if self.is_staged:
            self.outgoing.copy_to(self._sent)
        elif not self._device.is_host:
            self._device.finish()  # MPI knows nothing of the stream
        self._requests = [self._comm.Irecv(part, rank) for rank, part in self._of]
        self._requests += [self._comm.Isend(part, rank) for rank, part in self._to]

    def finish(self) -> None:
        """Wait until `incoming` is complete and `outgoing` is free again."""
        for request in self._requests:
            request.Wait()
        if self.is_staged:
            self.incoming.copy_from(self._received)


class Gathering:
    """The values of every rank on every rank, in the order of the ranks; MPI takes them as it does those of `Messages`.

    Parameters
    ----------
    device : Device
    comm : mpi4py.MPI.Comm
    dtype : str
    counts : sequence of int
        Values of each rank.

    Attributes
    ----------
    outgoing : Memory
        This rank's values, on the device.
    incoming : Memory
        Those of all ranks, one after the other, on the device.
    is_staged : bool
        Whether they pass through the host.
    """

    def __init__(self, device: Device, comm: Any, dtype: str, counts: Sequence[int]):
        self._device, self._comm, self._counts = device, comm, list(counts)
        self.outgoing = device.allocate((self._counts[comm.rank],), dtype)
        self.incoming = device.allocate((sum(self._counts),), dtype)
        self.is_staged = _is_staged(device, comm)
        self._sent = _buffer(device, self.outgoing, self.is_staged)
        self._received = _buffer(device, self.incoming, self.is_staged)

    def exchange(self) -> None:
        """Fill `incoming` from what lies in every rank's `outgoing`; all ranks call it."""
        if self.is_staged:
            self.outgoing.copy_to(self._sent)
        elif not self._device.is_host:
            self._device.finish()
        self._comm.Allgatherv(self._sent, (self._received, self._counts))
        if self.is_staged:
            self.incoming.copy_from(self._received)


def _is_staged(device: Device, comm: Any) -> bool:
    if device.is_host or gpu_aware(comm):
        return False
    if device.mode in ("CUDA", "HIP") and comm.rank == 0:
        _tell_of_staging()
    return True


@functools.cache
def _tell_of_staging() -> None:
    warnings.warn(
        "MPI takes no device buffers here, so messages between ranks pass through pinned host memory; load a GPU-aware MPI, or "
        "set INSITU_GPU_AWARE_MPI=1 where it is one",
        stacklevel=2,
    )


def _buffer(device: Device, memory: Memory, is_staged: bool) -> Any:
    """Return what MPI takes for memory: itself, or a host array beside it."""
    if device.is_host:
        return np.asarray(memory)
    return device.host_buffer(memory.shape, memory.dtype) if is_staged else memory


def _parts(buffer: Any, counts: Mapping[int, int]) -> list[tuple[int, Any]]:
    begin, parts = 0, []
    for rank, count in counts.items():
        parts.append((rank, buffer[begin : begin + count]))
        begin += count
    return parts

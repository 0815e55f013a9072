"""Whether all values of a field are finite, and how large they are."""

import numpy as np

from solver.device import Device
from solver.field import Field
from solver.kernel import shipped
from solver.precision import real_literal, real_type
from solver.threads import thread_count

_FEW = 1 << 16  # values that one thread has counted before a team has met


class FiniteCheck:
    """Counts the non-finite values of one field on its device, and finds the largest; a few kilobytes come to the host."""

    def __init__(self, device: Device, field: Field):
        groups, group = (max(8, thread_count()), 1) if device.is_host else (64, 64)
        dtype = str(field.dtype)
        self._field = field
        self._counts = device.allocate((groups * group,), "int32")
        self._largest = device.allocate((groups * group,), dtype)
        defines = {
            "dfloat": real_type(dtype),
            "GROUPS": groups,
            "GROUP": group,
            "CONTIGUOUS": device.is_host,
            "ZERO": real_literal(0, dtype),
        }
        self._count, self._largest_of = (
            device.build(shipped("finite.okl"), name, defines)
            for name in ("count_nonfinite", "largest")
        )
        if field.memory.size < _FEW:
            self._count.threads = self._largest_of.threads = 1
        self._host = np.empty(groups * group, np.int32)

    def count(self) -> int:
        """Return how many values, ghosts included, are not finite."""
        self._count(self._field.memory.size, self._field.memory, self._counts)
        self._counts.copy_to(self._host)
        return sum(self._host.tolist())

    def largest(self) -> float:
        """Return the largest absolute value, ghosts included, or NaN where one is not finite."""
        self._largest_of(self._field.memory.size, self._field.memory, self._largest)
        return float(self._largest.to_host().max())

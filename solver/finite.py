"""Whether all values of a field are finite."""

import numpy as np

from solver.device import Device
from solver.field import Field
from solver.kernel import shipped
from solver.precision import real_literal, real_type

_FEW = 1 << 16  # values that one thread has counted before a team has met


class FiniteCheck:
    """Counts the non-finite values of one field on its device; a few kilobytes of counts come to the host."""

    def __init__(self, device: Device, field: Field):
        groups, group = (8, 1) if device.is_host else (64, 64)
        self._field = field
        self._counts = device.allocate((groups * group,), "int32")
        self._host = np.empty(groups * group, np.int32)
        self._kernel = device.build(
            shipped("finite.okl"),
            "count_nonfinite",
            {
                "dfloat": real_type(str(field.dtype)),
                "GROUPS": groups,
                "GROUP": group,
                "CONTIGUOUS": device.is_host,
                "ZERO": real_literal(0, str(field.dtype)),
            },
        )

        if field.memory.size < _FEW:
            self._kernel.threads = 1

    def count(self) -> int:
        """Return how many values, ghosts included, are not finite."""
        self._kernel(self._field.memory.size, self._field.memory, self._counts)
        self._counts.copy_to(self._host)
        return sum(self._host.tolist())

"""A field: values on a grid's points and their ghost layers, in the memory of a device."""

import functools
from typing import Any

import numpy as np

from solver._occa import Kernel, Memory
from solver.device import Device
from solver.errors import ShapeError
from solver.grid import Grid
from solver.kernel import shipped
from solver.precision import real_type
from solver.threads import thread_count

_LARGE = 1 << 16  # values from which on a team of threads pays


class Field:
    """Components on a grid, for one member or an ensemble, with ghost points around them.

    The field itself speaks the array protocols for its interior, shape ``([members,] components, *points)``, without a copy and
    without waiting. Its memory stays the same for the life of the field: a view shows whatever the last finished step left there.

    Attributes
    ----------
    device : Device
    grid : Grid
    components : int
    ghost : int
        Ghost points on each side of each axis.
    members : int or None
        Members of the ensemble along the leading axis; None: one solution, and no such axis.
    memory : Memory
        The whole storage, shape ``([members,] components, *(points + 2 ghost))``, row-major, on the device; what kernels take.
    interior : Memory
        A view of the points without the ghosts.
    """

    def __init__(
        self,
        device: Device,
        grid: Grid,
        components: int = 1,
        ghost: int = 0,
        dtype: Any = "float64",
        members: int | None = None,
    ):
        self.device = device
        self.grid = grid
        self.components = components
        self.ghost = ghost
        self.members = members
        leading = () if members is None else (members,)
        self.memory: Memory = device.allocate(
            (*leading, components, *(n + 2 * ghost for n in grid.points)), dtype
        )
        if device.mode == "OpenMP" and self.memory.size >= _LARGE:
            # The thread that touches a page first has it near.
            _stretch(device, "fill", str(self.dtype))(self.memory.size, 0.0, self.memory)
        every = (slice(None),) * (len(leading) + 1)
        self.interior: Memory = self.memory[
            (*every, *(slice(ghost, ghost + n) for n in grid.points))
        ]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the interior, ``([members,] components, *points)``."""
        return (*self._leading, self.components, *self.grid.points)

    @property
    def _leading(self) -> tuple[int, ...]:
        return () if self.members is None else (self.members,)

    def member(self, number: int) -> Memory:
        """Return a view of one member's points, shape ``(components, *points)``.

        Raises
        ------
        ShapeError
            The field has no such member.
        """
        if self.members is None or not 0 <= number < self.members:
            raise ShapeError(
                f"a member must be a number of an ensemble of {self.members or 0}, got {number}; correct it"
            )
        return self.interior[number]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of a value."""
        return self.memory.dtype

    def to_host(self) -> np.ndarray:
        """Return a NumPy copy of the interior, shape ``(components, *points)``; counted as device to host."""
        return self.interior.to_host()

    def set(self, values: np.ndarray) -> None:
        """Write the interior from the host and its ghosts with the periodic images; counted as host to device.

        Parameters
        ----------
        values : numpy.ndarray
            Shape ``([members,] components, *points)``, converted to the field's dtype.
        """
        values = np.asarray(values, dtype=self.dtype)
        if values.shape != self.shape:
            raise ShapeError(
                f"values must have the field's shape {self.shape}, got {values.shape}; reshape them"
            )
        if self.ghost:
            width = [(0, 0)] * (len(self._leading) + 1) + [(self.ghost, self.ghost)] * len(
                self.grid.points
            )
            values = np.pad(values, width, mode="wrap")
        self.memory.copy_from(np.ascontiguousarray(values))

    def copy_from(self, other: "Field") -> None:
        """Copy another field of the same shape on the device, ghosts included."""
        copy(self.device, other.memory, self.memory)

    def __dlpack__(self, **request: Any) -> Any:
        return self.interior.__dlpack__(**request)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.interior.__dlpack_device__()

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return self.interior.__array_interface__

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return self.interior.__cuda_array_interface__

    def __repr__(self) -> str:
        return f"Field(shape={self.shape}, ghost={self.ghost}, {self.dtype}, {self.device})"


def copy(device: Device, source: Memory, target: Memory) -> None:
    """Copy contiguous memory on the device, by all threads where it is large."""
    if device.mode == "OpenMP" and source.size >= _LARGE:
        _stretch(device, "copy", str(source.dtype))(source.size, source, target)
    else:
        target.copy_from(source)


@functools.lru_cache(maxsize=16)
def _stretch(device: Device, name: str, dtype: str) -> Kernel:
    defines = {"dfloat": real_type(dtype), "GROUPS": thread_count()}
    return device.build(shipped("field.okl"), name, defines)

"""A field: values on a grid's points and their ghost layers, in the memory of a device."""

from typing import Any

import numpy as np

from solver._occa import Memory
from solver.device import Device
from solver.errors import ShapeError
from solver.grid import Grid


class Field:
    """Components on a grid with ghost points around them.

    The field itself speaks the array protocols for its interior, shape ``(components, *points)``, without a copy and without
    waiting. Its memory stays the same for the life of the field: a view shows whatever the last finished step left there.

    Attributes
    ----------
    device : Device
    grid : Grid
    components : int
    ghost : int
        Ghost points on each side of each axis.
    memory : Memory
        The whole storage, shape ``(components, *(points + 2 ghost))``, row-major, on the device; what kernels take.
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
    ):
        self.device = device
        self.grid = grid
        self.components = components
        self.ghost = ghost
        self.memory: Memory = device.allocate(
            (components, *(n + 2 * ghost for n in grid.points)), dtype
        )
        self.interior: Memory = self.memory[
            (slice(None), *(slice(ghost, ghost + n) for n in grid.points))
        ]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the interior, ``(components, *points)``."""
        return (self.components, *self.grid.points)

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
            Shape ``(components, *points)``, converted to the field's dtype.
        """
        values = np.asarray(values, dtype=self.dtype)
        if values.shape != self.shape:
            raise ShapeError(
                f"values must have the field's shape {self.shape}, got {values.shape}; reshape them"
            )
        width = [(0, 0)] + [(self.ghost, self.ghost)] * len(self.grid.points)
        self.memory.copy_from(np.ascontiguousarray(np.pad(values, width, mode="wrap")))

    def copy_from(self, other: "Field") -> None:
        """Copy another field of the same shape on the device, ghosts included."""
        self.memory.copy_from(other.memory)

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

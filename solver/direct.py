"""The exact solution of the pressure equation on a small box."""

import math

import numpy as np

from solver._occa import Kernel, Memory
from solver.device import Device
from solver.levels import Level

__all__ = ["Direct"]

SINGLE = "float32"


class Direct:
    """The exact solution on a small level, by the eigenvectors of each axis; the constant part is left out.

    Parameters
    ----------
    device : Device
    level : Level
    rotate : Kernel
        multigrid_rotate.
    """

    def __init__(self, device: Device, level: Level, rotate: Kernel):
        self._rotate = rotate
        self._points = level.points[-level.axes :]
        pairs = [
            np.linalg.eigh(weight * second_difference(n, wraps))
            for n, weight, wraps in list(
                zip(level.points, level.weights, level.wraps, strict=True)
            )[-level.axes :]
        ]
        values = sum(np.meshgrid(*(value for value, _ in pairs), indexing="ij"), np.zeros(1))
        is_null = values < 1e-10 * values.max()
        inverse = np.where(is_null, 0, 1 / np.where(is_null, 1, values))

        def on_device(array: np.ndarray) -> Memory:
            memory = device.allocate((array.size,), SINGLE)
            memory.copy_from(np.ascontiguousarray(array, dtype=SINGLE).ravel())
            return memory

        self._forward = [on_device(vectors) for _, vectors in pairs]
        self._backward = [on_device(vectors.T) for _, vectors in pairs]
        self._ones, self._inverse = on_device(np.ones(level.size)), on_device(inverse)
        self._scratch = [on_device(np.zeros(level.size)) for _ in range(2)]

    def solve(self, f: Memory, x: Memory) -> None:
        """Write the solution of A x = f, without its mean; every rotation brings the next axis to the front."""
        axes, size = len(self._points), math.prod(self._points)
        source = f
        for turn, matrix in enumerate((*self._forward, *self._backward)):
            length = self._points[turn % axes]
            target = x if turn == 2 * axes - 1 else self._scratch[turn % 2]
            factor = self._inverse if turn == axes else self._ones
            self._rotate(length, size // length, matrix, factor, source, target)
            source = target


def second_difference(n: int, wraps: int) -> np.ndarray:
    """Return the matrix of 2x_i − x_{i−1} − x_{i+1}, where a cell beyond a side is the cell before it or the other side's."""
    eye = np.eye(n)
    left, right = np.roll(eye, -1, axis=1), np.roll(eye, 1, axis=1)
    if not wraps:
        left[0], right[-1] = eye[0], eye[-1]
    return 2 * eye - left - right

"""The points around a rank's block, from the ranks that own them."""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from solver._occa import Memory
from solver.decomposition import Piece
from solver.device import Device
from solver.errors import ShapeError
from solver.grid import Block
from solver.kernel import shipped
from solver.messages import Messages
from solver.precision import real_type

__all__ = ["Frame", "Halo", "in_three_axes"]

_FEW = 1 << 15  # values that one thread has moved before a team has met

Box = tuple[int, int, int]
Locate = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


@dataclass(frozen=True)
class Frame:
    """Where the points around a box lie in memory, without the box itself.

    First all rows beyond its first axis, then those beyond its second, both with their own ends, then the ends of the box's rows.
    A row is contiguous, and so is each end of one.

    Attributes
    ----------
    points, low, high : tuple of int
        Points of the box and around it, along three axes.
    """

    points: Box
    low: Box
    high: Box

    @property
    def around(self) -> Box:
        """Points of the box with its surroundings."""
        k, j, i = (
            low + n + high for low, n, high in zip(self.low, self.points, self.high, strict=True)
        )
        return k, j, i

    @property
    def size(self) -> int:
        """Points around the box."""
        return int(np.prod(self.around) - np.prod(self.points))

    def offset(self, k: np.ndarray, j: np.ndarray, i: int) -> np.ndarray:
        """Return where points around the box lie, which are numbered from the box's first."""
        (nk, nj, ni), (lk, lj, li), (hk, hj, hi) = self.points, self.low, self.high
        _, ej, ei = self.around
        beyond_k = (np.where(k < 0, k + lk, lk + k - nk) * ej + lj + j) * ei + li + i
        begin = (lk + hk) * ej * ei
        beyond_j = begin + (k * (lj + hj) + np.where(j < 0, j + lj, lj + j - nj)) * ei + li + i
        begin += nk * (lj + hj) * ei
        end = begin + (k * nj + j) * (li + hi) + (i + li if i < 0 else i + li - ni)
        is_in_plane = (k >= 0) & (k < nk)
        return np.where(is_in_plane, np.where((j >= 0) & (j < nj), end, beyond_j), beyond_k)

    def padded_offset(self, k: np.ndarray, j: np.ndarray, i: int) -> np.ndarray:
        """Return where points lie in an array of the box and its surroundings."""
        _, ej, ei = self.around
        lk, lj, li = self.low
        return ((k + lk) * ej + j + lj) * ei + i + li


class Halo:
    """Brings the surroundings of a block to this rank: `start` sends, `finish` has received.

    Whatever needs the block's inner points only may be launched in between.

    Parameters
    ----------
    device : Device
    block : Block
        With the communicator of the ranks that share the grid; all of them make the same exchanges.
    copies : int
        Components times members of the values.
    dtype : str
    reach : int
        Points around the block along each cut axis.
    is_padded : bool
        Keep the surroundings in one array with the block in its middle, which is copied there, instead of a `Frame`.

    Attributes
    ----------
    messages, sent_bytes : int
        What an exchange sends to other ranks.
    """

    def __init__(
        self,
        device: Device,
        block: Block,
        copies: int,
        dtype: str,
        reach: int,
        is_padded: bool = False,
    ):
        margins = block.margins(reach)
        low, high = (in_three_axes([margin[n] for margin in margins], 0) for n in (0, 1))
        frame = Frame(in_three_axes(block.points, 1), low, high)
        alone = Frame(frame.points, (0, 0, 0), (0, 0, 0))
        size = int(np.prod(frame.around)) if is_padded else frame.size
        shape = [n + sum(margin) for n, margin in zip(block.points, margins, strict=True)]
        self._device, self._copies, self._dtype = device, copies, dtype
        self._shape = (copies, *shape) if is_padded else (copies, size)

        asked = block.decomposition.asked(reach)
        needed = _by_owner(block.decomposition.pieces(reach))
        counts = [
            {rank: copies * _points(pieces) for rank, pieces in each.items()}
            for each in (asked, needed)
        ]
        self._messages = Messages(device, block.comm, dtype, *counts)
        self.is_staged = self._messages.is_staged
        others = [n for rank, n in counts[0].items() if rank != block.decomposition.rank]
        self.messages, self.sent_bytes = len(others), sum(others) * np.dtype(dtype).itemsize

        locate = frame.padded_offset if is_padded else frame.offset
        packed = _rows(asked.values(), copies, lambda p: p.begin, alone.padded_offset, block.size)
        unpacked = _rows(needed.values(), copies, lambda p: p.at, locate, size)
        self._pack = _table(device, packed)
        self._unpack = _table(device, _reversed(unpacked))
        self._own = self._back = self._pack_padded = None
        if is_padded:
            own = _in_place(frame, block.size, size)
            self._own, self._back = _table(device, own), _table(device, _reversed(own))
            packed = _rows(asked.values(), copies, lambda p: p.begin, frame.padded_offset, size)
            self._pack_padded = _table(device, packed)
        defines = {"dfloat": real_type(dtype), "HOST": device.is_host}
        self._move = device.build(shipped("halo.okl"), "move_rows", defines)
        if max(sum(count.values()) for count in counts) < _FEW:
            self._move.threads = 1

    @functools.cached_property
    def memory(self) -> Memory:
        """What `finish` fills, on the device: shape ``(copies, points of the frame)``, or ``(copies, *points with margins)``."""
        return self._device.allocate(self._shape, self._dtype)

    def start(self, values: Memory) -> None:
        """Pack what others need of ``values``, contiguous, ``copies * points`` of them, and send it off."""
        flat = _flat(values)
        self._move_rows(self._pack, flat, self._messages.outgoing)
        if self._own is not None:
            self._move_rows(self._own, flat, _flat(self.memory))
        self._messages.start()

    def finish(self) -> None:
        """Wait for what others sent, and put it in its place."""
        self._messages.finish()
        self._move_rows(self._unpack, self._messages.incoming, _flat(self.memory))

    def exchange(self, values: Memory) -> Memory:
        """Start and finish; return `memory`."""
        self.start(values)
        self.finish()
        return self.memory

    def refresh(self, padded: Memory) -> None:
        """Bring the surroundings into an array of as many values as `memory` whose middle is up to date; of a padded halo."""
        flat = _flat(padded)
        self._move_rows(self._pack_padded, flat, self._messages.outgoing)
        self._messages.start()
        self._messages.finish()
        self._move_rows(self._unpack, self._messages.incoming, flat)

    def extract(self, padded: Memory, values: Memory) -> None:
        """Copy the block out of the middle of such an array to ``values``, contiguous, ``copies * points`` of them."""
        self._move_rows(self._back, _flat(padded), _flat(values))

    def _move_rows(self, table: Memory | None, source: Memory, target: Memory) -> None:
        if table is None:
            raise ShapeError(
                "a halo must be padded to work on padded arrays, this one is a frame; make it with is_padded"
            )
        rows = table.shape[0]
        self._move(rows, self._copies, source.size, target.size, table, source, target)


def _flat(memory: Memory) -> Memory:
    return memory.reshape((memory.size,))


def in_three_axes(numbers: Sequence[int], filler: int) -> Box:
    """Return numbers per axis as the kernels count axes: one axis is the last, two are the first and the last."""
    if len(numbers) == 2:
        return numbers[0], filler, numbers[1]
    k, j, i = (*(filler,) * (3 - len(numbers)), *numbers)
    return k, j, i


def _by_owner(pieces: Iterable[Piece]) -> dict[int, list[Piece]]:
    found: dict[int, list[Piece]] = {}
    for piece in pieces:
        found.setdefault(piece.owner, []).append(piece)
    return dict(sorted(found.items()))


def _points(pieces: Iterable[Piece]) -> int:
    return sum(int(np.prod(piece.shape)) for piece in pieces)


def _rows(
    messages: Iterable[list[Piece]],
    copies: int,
    begin: Callable[[Piece], tuple[int, ...]],
    locate: Locate,
    stride: int,
) -> np.ndarray:
    """Return a row of halo.okl's table for each row of each piece, from its place in an array to its place in a message."""
    rows, base = [np.empty((0, 5), np.int64)], 0
    for pieces in messages:
        in_message, count = base, _points(pieces)
        for piece in pieces:
            first_k, first_j, first_i = in_three_axes(begin(piece), 0)
            depth, height, width = in_three_axes(piece.shape, 1)
            k, j = (axis.ravel() for axis in np.mgrid[:depth, :height])
            block = np.empty((len(k), 5), np.int64)
            block[:, 0] = locate(first_k + k, first_j + j, first_i)
            block[:, 1] = in_message + width * np.arange(len(k))
            block[:, 2:] = width, stride, count
            rows.append(block)
            in_message += depth * height * width
        base += copies * count
    return np.concatenate(rows)


def _in_place(frame: Frame, volume: int, size: int) -> np.ndarray:
    """Return the rows that move a block to the middle of its padded array."""
    depth, height, width = frame.points
    k, j = (axis.ravel() for axis in np.mgrid[:depth, :height])
    rows = np.empty((len(k), 5), np.int64)
    rows[:, 0] = width * np.arange(len(k))
    rows[:, 1] = frame.padded_offset(k, j, 0)
    rows[:, 2:] = width, volume, size
    return rows


def _reversed(rows: np.ndarray) -> np.ndarray:
    """Return the rows that move the same values back."""
    return rows[:, [1, 0, 2, 4, 3]]


def _table(device: Device, rows: np.ndarray) -> Memory:
    memory = device.allocate(rows.shape, "int64")
    memory.copy_from(np.ascontiguousarray(rows))
    return memory

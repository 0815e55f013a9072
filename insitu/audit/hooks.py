"""The places where data moves, watched while an audit is open: the solver's memory, torch's dispatcher, CuPy's arrays."""

import functools
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._C import DispatchKey, _dispatch_keyset_full_after

from insitu.audit.lines import CROSSING, Direction, Move
from solver import Device, Memory

__all__ = ["install", "uninstall"]

Watch = Callable[[Move], None]

# Between a backend's kernels and all that is above them, autograd and modes included: whatever calls an operation passes here.
_KEY = "BackendSelect"
_BELOW = _dispatch_keyset_full_after(DispatchKey.BackendSelect)
_copy = torch.ops.aten.copy_.default
_item = torch.ops.aten._local_scalar_dense.default
_HOST = 1  # as DLPack numbers it
_NUMBERS = (float, int, bool, complex)
_thread = threading.local()  # .crossings: copies of this thread between device and host so far

_undo: list[Callable[[], None]] = []


def install(check: Watch, record: Watch, copies: bool) -> None:
    """Call ``check`` before and ``record`` after each transfer, until `uninstall`; nothing is installed yet.

    Copies within the solver's memory, and torch's where it has no device but the host, are watched where ``copies`` is set.
    """
    _watch_solver(check, record, copies)
    if copies or torch.accelerator.is_available():
        _watch_torch(check, record)
    _watch_waits(record)
    if "cupy" in sys.modules:
        _watch_cupy(check, record)


def uninstall() -> None:
    """Leave everything as it was."""
    while _undo:
        _undo.pop()()


def _replace(owner: Any, name: str, made: Callable[[Any], Callable[..., Any]]) -> None:
    """Put what is made of a class's or module's function in its place."""
    is_own = name in vars(owner)
    original = getattr(owner, name)
    setattr(owner, name, made(original))
    _undo.append(lambda: setattr(owner, name, original) if is_own else delattr(owner, name))


def _watched(
    move_of: Callable[..., Move], check: Watch, record: Watch, original: Callable[..., Any]
) -> Callable[..., Any]:
    """Watch a function that may call others that are watched: what crosses is recorded where it does, once."""

    def call(*arguments: Any, **keywords: Any) -> Any:
        move = move_of(*arguments)
        check(move)
        before = _crossings()
        result = original(*arguments, **keywords)
        if move.direction not in CROSSING:
            record(move)
        elif _crossings() == before:
            _thread.crossings = before + 1
            record(move)
        return result

    return call


def _crossings() -> int:
    """Return how many copies between device and host this thread has made while watched."""
    return getattr(_thread, "crossings", 0)


def _pass(move: Move) -> None:
    """Refuse nothing."""


def _watch_solver(check: Watch, record: Watch, copies: bool) -> None:
    def reading(operation: str) -> Callable[..., Move]:
        def move_of(memory: Memory, *_: Any) -> Move:
            size = memory.nbytes if memory.is_contiguous else _span(memory)
            return _of_solver(operation, "device_to_host", memory, size)

        return move_of

    def writing(memory: Memory, source: Any) -> Move:
        inside = isinstance(source, Memory)
        direction: Direction = "device_to_device" if inside else "host_to_device"
        return _of_solver("Memory.copy_from", direction, memory, memory.nbytes)

    def copy_from(original: Callable[..., Any]) -> Callable[..., Any]:
        watched = _watched(writing, check, record, original)

        def call(memory: Memory, source: Any) -> Any:
            is_within = isinstance(source, Memory) and not copies
            return original(memory, source) if is_within else watched(memory, source)

        return call

    for name in ("to_host", "copy_to"):
        move_of = reading(f"Memory.{name}")
        _replace(Memory, name, functools.partial(_watched, move_of, check, record))
    _replace(Memory, "copy_from", copy_from)

    def waiting(device: Device) -> Move:
        return Move("Device.finish", "none", synchronizations=0 if device.is_host else 1)

    _replace(Device, "finish", functools.partial(_watched, waiting, _pass, record))


def _of_solver(operation: str, direction: Direction, memory: Memory, size: int) -> Move:
    if direction == "device_to_device":
        return Move(operation, direction, size, memory.size)
    if memory.__dlpack_device__()[0] == _HOST:
        return Move(operation, "within_host", size, memory.size)
    return Move(operation, direction, size, memory.size, int(size > 0))


def _span(memory: Memory) -> int:
    """Return the bytes from the first element to the last, which is what is copied of strided memory."""
    if not memory.size:
        return 0
    last = sum((n - 1) * stride for n, stride in zip(memory.shape, memory.strides, strict=True))
    return last + memory.dtype.itemsize


def _watch_torch(check: Watch, record: Watch) -> None:
    has_device = torch.accelerator.is_available()

    def copy(keys: Any, target: Tensor, source: Any, non_blocking: bool = False) -> Tensor:
        return _copy.redispatch(keys & _BELOW, target, source, non_blocking)

    def copying(_: Any, target: Tensor, source: Tensor, non_blocking: bool = False) -> Move:
        return _of_torch(target, source, non_blocking)

    def item(keys: Any, tensor: Tensor) -> Any:
        return _item.redispatch(keys & _BELOW, tensor)

    def reading(_: Any, tensor: Tensor) -> Move:
        return Move("torch item", "device_to_host", tensor.element_size(), 1, 1)

    watched_copy, watched_item = (
        _watched(copying, check, record, copy),
        _watched(reading, check, record, item),
    )

    def on_copy(keys: Any, target: Tensor, source: Any, non_blocking: bool = False) -> Tensor:
        if type(source) in _NUMBERS:  # a Python number that torch had made a tensor
            return target.fill_(source)
        to, of = target.device.type, source.device.type
        if (to == "cpu") != (of == "cpu"):
            return watched_copy(keys, target, source, non_blocking)
        result = _copy.redispatch(keys & _BELOW, target, source, non_blocking)
        if (to != "cpu" or not has_device) and to != "meta":
            record(Move("torch copy", "device_to_device", target.nbytes, target.numel()))
        return result

    def on_item(keys: Any, tensor: Any) -> Any:
        if type(tensor) in _NUMBERS:
            return tensor
        return (item if tensor.device.type == "cpu" else watched_item)(keys, tensor)

    library = torch.library.Library("aten", "IMPL")
    library.impl("copy_", on_copy, _KEY, with_keyset=True)
    if has_device:
        library.impl("_local_scalar_dense", on_item, _KEY, with_keyset=True)
    _undo.append(library._destroy)


def _of_torch(target: Tensor, source: Tensor, non_blocking: bool) -> Move:
    to, of = target.device.type, source.device.type
    if "meta" in (to, of):  # a tensor without data
        return Move("torch copy", "none")
    direction: Direction = "device_to_host" if to == "cpu" else "host_to_device"
    moved = source if source.numel() <= target.numel() else target
    return Move("torch copy", direction, moved.nbytes, moved.numel(), int(not non_blocking))


def _watch_waits(record: Watch) -> None:
    if not torch.cuda.is_available():
        return
    for owner, name in (
        (torch.cuda, "synchronize"),
        (torch.cuda.Stream, "synchronize"),
        (torch.cuda.Event, "synchronize"),
    ):

        def waiting(*_: Any) -> Move:
            return Move("torch.cuda synchronize", "none", synchronizations=1)

        _replace(owner, name, functools.partial(_watched, waiting, _pass, record))


def _watch_cupy(check: Watch, record: Watch) -> None:
    import cupy

    def reading(array: Any, *_: Any) -> Move:
        return Move("cupy get", "device_to_host", array.nbytes, array.size, 1)

    def writing(array: Any, *_: Any) -> Move:
        return Move("cupy set", "host_to_device", array.nbytes, array.size, 1)

    def making(source: Any = None, *_: Any) -> Move:
        if isinstance(source, cupy.ndarray) or hasattr(source, "__cuda_array_interface__"):
            return Move("cupy array", "none")
        values = np.asarray(source)
        return Move("cupy array", "host_to_device", values.nbytes, values.size, 1)

    for name in ("get", "item", "tolist", "__bool__", "__int__", "__float__"):
        _replace(cupy.ndarray, name, functools.partial(_watched, reading, check, record))
    _replace(cupy.ndarray, "set", functools.partial(_watched, writing, check, record))
    for name in ("array", "asarray", "ascontiguousarray", "asanyarray"):
        _replace(cupy, name, functools.partial(_watched, making, check, record))

"""A run's state taken apart: arrays that ranks share, what each rank has for itself, and what is the same on all."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from insitu.checkpoint.layout import Layout, Place
from insitu.distributed import Distributed, Local, Rows

__all__ = ["Packed", "Part", "pack", "unpack"]

_ARRAY, _LOCAL = "array shared by ranks", "value of each rank"
_PLAIN = (str, int, float, bool, type(None), bytes)


@dataclass(frozen=True)
class Part:
    """One rank's part of an array, on the host.

    Attributes
    ----------
    kind
        "block" of members and points, "rows" of a table, or "local": bytes of this rank alone.
    is_flat
        Whether its owner has members, components and points in one axis.
    shape
        Of the whole; of a local one its own.
    place
        The numbers along each axis that this rank has.
    values
        Contiguous copy, pinned where it comes from a GPU; complete after `wait`.
    copied
        On a GPU, when it is.
    """

    kind: str
    is_flat: bool
    shape: tuple[int, ...]
    place: Place
    values: Tensor
    copied: torch.cuda.Event | None = None

    def wait(self) -> None:
        """Wait until the values are here."""
        if self.copied is not None:
            self.copied.synchronize()


@dataclass(frozen=True)
class Packed:
    """A state as one rank writes it: its parts by name, and on rank 0 what all have, as bytes that torch reads."""

    parts: dict[str, Part]
    same: bytes | None


def pack(state: Mapping[str, Any], layout: Layout) -> Packed:
    """Copy a state to host memory, so that the run may go on while it is written.

    Parameters
    ----------
    state
        Nested mappings of `Distributed`, `Rows`, `Local` and of what is the same on all ranks: tensors, numbers, texts, lists.
    layout
        Of this rank.

    Raises
    ------
    TypeError
        A value is of a class that could not be read again safely.
    """
    parts: dict[str, Part] = {}
    local: dict[str, Any] = {}
    same = _taken_apart(state, "", layout, parts, local)
    parts["local"] = _bytes_part(_saved(local))
    return Packed(parts, _saved(same) if layout.rank == 0 else None)


def unpack(same: Any, arrays: Mapping[str, Tensor], local: Mapping[str, Any]) -> Any:
    """Put a state together again, with this rank's values in place of `Distributed`, `Rows` and `Local`."""
    if isinstance(same, dict):
        if _ARRAY in same:
            return arrays[same[_ARRAY]]
        if _LOCAL in same:
            return local[same[_LOCAL]]
        return {name: unpack(each, arrays, local) for name, each in same.items()}
    if isinstance(same, list | tuple):
        return type(same)(unpack(each, arrays, local) for each in same)
    return same


def _taken_apart(
    value: Any, name: str, layout: Layout, parts: dict[str, Part], local: dict[str, Any]
) -> Any:
    """Return what is the same on all ranks, with the names of the rest in their place."""
    if isinstance(value, Distributed | Rows):
        parts[name] = _array_part(value, layout)
        return {_ARRAY: name}
    if isinstance(value, Local):
        local[name] = _taken_apart(value.value, name, layout, parts, {})
        return {_LOCAL: name}
    if isinstance(value, Mapping):
        return {
            key: _taken_apart(each, f"{name}.{key}".lstrip("."), layout, parts, local)
            for key, each in value.items()
        }
    if isinstance(value, list | tuple):
        made = [
            _taken_apart(each, f"{name}.{n}", layout, parts, local) for n, each in enumerate(value)
        ]
        return made if isinstance(value, list) else tuple(made)
    if isinstance(value, np.generic):
        return value.item()
    if not isinstance(value, (Tensor, *_PLAIN)):
        raise TypeError(
            f"checkpoint: expected tensors, numbers, texts, lists and mappings in a state, got {type(value).__name__} as "
            f"{name}; convert it in that part's state_dict"
        )
    return value


def _array_part(part: Distributed | Rows, layout: Layout) -> Part:
    kind = "rows" if isinstance(part, Rows) else "block"
    shape, values = layout.whole(part), layout.unfolded(part).detach()
    place, copied = layout.place(kind, shape), None
    if values.device.type == "cpu":
        host = values.clone(memory_format=torch.contiguous_format)
    else:
        host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        host.copy_(values, non_blocking=True)
        copied = torch.cuda.Event()
        copied.record()
    return Part(kind, isinstance(part, Distributed) and part.is_flat, shape, place, host, copied)


def _bytes_part(content: bytes) -> Part:
    values = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    return Part("local", False, tuple(values.shape), (range(len(values)),), values)


def _saved(value: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()

"""Files of a checkpoint: written whole with their checksums, checked and read in parts."""

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from insitu.checkpoint.layout import Layout, Place, common
from insitu.checkpoint.packing import Packed, Part

__all__ = ["MANIFEST", "DamagedError", "Manifest", "Written", "flush", "read_arrays", "write"]

MANIFEST, SAME = "manifest.json", "state.pt"
_FORMAT = 2
_ALIGNED = 64  # bytes, at which an array begins in its file
_CHUNK = 1 << 24  # bytes written, or read and summed up, at once


class DamagedError(RuntimeError):
    """A checkpoint is not what was written."""


@dataclass(frozen=True)
class Written:
    """What one rank wrote.

    Attributes
    ----------
    files
        Bytes and checksum of each file by name.
    arrays
        By name: dtype, kind, is_flat, the shape of the whole, and this rank's piece, (file, offset, place).
    """

    files: dict[str, list[Any]]
    arrays: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Manifest:
    """The table of contents of a checkpoint, the last file that is written.

    Attributes
    ----------
    step, time, stage
        Where the run was.
    ranks
        How many wrote it.
    case
        The resolved case.
    files
        Bytes and checksum by name.
    arrays
        By name; see `Written`, with the pieces of all ranks.
    """

    step: int
    time: float
    stage: str
    ranks: int
    case: Mapping[str, Any]
    files: dict[str, list[Any]]
    arrays: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, written: list[Written], **about: Any) -> "Manifest":
        """Return the manifest of what all ranks wrote."""
        files = {name: record for each in written for name, record in each.files.items()}
        arrays: dict[str, dict[str, Any]] = {}
        for each in written:  # a rank may have no row of a table yet
            for name, array in each.arrays.items():
                about_it = {key: value for key, value in array.items() if key != "piece"}
                known = arrays.setdefault(name, about_it | {"pieces": []})
                known["pieces"].append(array["piece"])
        return cls(files=files, arrays=arrays, **about)

    def write(self, folder: Path) -> None:
        """Write ``manifest.json``, with a checksum of its own."""
        content = {"format": _FORMAT, **asdict(self)}
        content["checksum"] = _sum_of(content)
        with open(folder / MANIFEST, "w") as file:
            json.dump(content, file)
            flush(file)

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read a manifest.

        Raises
        ------
        DamagedError
            It is missing, not what was written, or of another version.
        """
        file = folder / MANIFEST
        try:
            content = json.loads(file.read_text())
            known = content.pop("checksum")
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise DamagedError(f"{file} must be a manifest, reading it gives '{error}'") from None
        if known != _sum_of(content):
            raise DamagedError(f"{file} must have the checksum in it, it has been changed")
        version = content.pop("format")
        if version != _FORMAT:
            raise DamagedError(f"{file} must be of format {_FORMAT}, got {version}")
        return cls(**content)

    def check(self, folder: Path, names: Iterator[str] | list[str]) -> None:
        """Compare files with what was written.

        Raises
        ------
        DamagedError
            One is missing, or has another size or checksum.
        """
        for name in names:
            size, known = self.files[name]
            file = folder / name
            found = file.stat().st_size if file.is_file() else None
            if found != size:
                state = "is missing" if found is None else f"has {found}"
                raise DamagedError(f"{file} must have {size} bytes, it {state}")
            if _checksum(file) != known:
                raise DamagedError(f"{file} must have the checksum {known}, its contents changed")


def write(packed: Packed, folder: Path, rank: int) -> Written:
    """Write a rank's part of a checkpoint, and have it on the disk on return.

    Raises
    ------
    OSError
        There is no room, or no such directory.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name, files = f"rank-{rank:04d}.bin", {}
    arrays: dict[str, dict[str, Any]] = {}
    with open(folder / name, "wb") as file:
        total, size = hashlib.blake2b(digest_size=16), 0
        for array, part in packed.parts.items():
            part.wait()
            for chunk in _chunks(part.values, size):
                file.write(chunk)
                total.update(chunk)
                size += len(chunk)
            arrays[array] = _described(part, name, size - part.values.nbytes)
        flush(file)
    files[name] = [size, total.hexdigest()]
    if packed.same is not None:
        with open(folder / SAME, "wb") as file:
            file.write(packed.same)
            flush(file)
        files[SAME] = [len(packed.same), hashlib.blake2b(packed.same, digest_size=16).hexdigest()]
    return Written(files, arrays)


def read_arrays(
    folder: Path, manifest: Manifest, layout: Layout
) -> tuple[dict[str, Tensor], Tensor]:
    """Read what is this rank's of all arrays, whatever ranks wrote them, and the bytes of a rank's own values.

    Returns
    -------
    dict of str to Tensor, Tensor
        The arrays on the host, flat where they were; the bytes of the rank of this number where as many ranks wrote them with the
        same blocks, else of rank 0.
    """
    found: dict[str, Tensor] = {}
    for name, array in manifest.arrays.items():
        if array["kind"] == "local":
            continue
        place = layout.place(array["kind"], array["shape"])
        values = np.empty([len(each) for each in place], array["dtype"])
        for piece in array["pieces"]:
            held, its = _opened(folder, piece, array["dtype"])
            shared = common(place, its)
            if shared is not None:
                values[shared[0]] = held[shared[1]]
        tensor = torch.from_numpy(values)
        found[name] = tensor.flatten(-len(layout.state)) if array["is_flat"] else tensor
    own = layout.rank if manifest.ranks == layout.ranks else 0
    piece = manifest.arrays["local"]["pieces"][own]
    return found, torch.from_numpy(_opened(folder, piece, "uint8")[0].copy())


def flush(file: Any) -> None:
    """Have a file's contents on the disk."""
    file.flush()
    os.fsync(file.fileno())


def _chunks(values: Tensor, at: int) -> Iterator[memoryview]:
    """Yield zeros up to where an array may begin, then its bytes."""
    if at % _ALIGNED:
        yield memoryview(bytes(_ALIGNED - at % _ALIGNED))
    flat: Any = values.flatten().view(torch.uint8).numpy()
    content = memoryview(flat)
    for begin in range(0, len(content), _CHUNK):
        yield content[begin : begin + _CHUNK]


def _described(part: Part, file: str, offset: int) -> dict[str, Any]:
    place = [[each.start, each.stop, each.step] for each in part.place]
    return {
        "dtype": str(part.values.dtype).removeprefix("torch."),
        "kind": part.kind,
        "is_flat": part.is_flat,
        "shape": list(part.shape),
        "piece": [file, offset, place],
    }


def _opened(folder: Path, piece: list[Any], dtype: str) -> tuple[np.ndarray, Place]:
    """Return a piece's values, mapped from its file, and its place."""
    file, offset, numbers = piece
    place = tuple(range(*each) for each in numbers)
    shape = tuple(map(len, place))
    if not math.prod(shape):
        return np.empty(shape, dtype), place
    return np.memmap(folder / file, dtype, "r", offset, shape), place


def _checksum(file: Path) -> str:
    total = hashlib.blake2b(digest_size=16)
    with open(file, "rb") as stream:
        while chunk := stream.read(_CHUNK):
            total.update(chunk)
    return total.hexdigest()


def _sum_of(content: Mapping[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(content).encode(), digest_size=16).hexdigest()

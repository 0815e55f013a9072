"""Tensors and NumPy arrays on their way into and out of a reduction."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "from_numpy",
    "like",
    "read_arrays",
    "require_finite",
    "require_snapshots",
    "to_numpy",
]


def require_snapshots(X: Tensor) -> None:
    """Check a snapshot tensor (samples, features).

    Raises
    ------
    TypeError
        It is neither float32 nor float64.
    ValueError
        It is not a matrix with at least one row and column.
    """
    if X.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"POD: expected a float32 or float64 tensor, got {X.dtype}; convert it with X.double()"
        )
    if X.ndim != 2 or X.numel() == 0:
        raise ValueError(
            f"POD: expected snapshots of shape (samples, features) with at least one of each, got "
            f"{tuple(X.shape)}; give one flattened field in each row"
        )


def require_finite(X: Tensor) -> None:
    """Check that no entry is NaN or infinite.

    Raises
    ------
    ValueError
        One is.
    """
    if not torch.isfinite(torch.stack(torch.aminmax(X))).all():
        raise ValueError("POD: expected finite snapshots, got NaN or infinity; check the field")


def read_arrays(
    path: str | Path, names: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Read the named arrays of an npz file, those of the optional ones that are there.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        The file is no archive or lacks one of the names.
    """
    try:
        with np.load(path) as stored:
            here = [*names, *(name for name in optional if name in stored)]
            return {name: stored[name] for name in here}
    except (zipfile.BadZipFile, EOFError, KeyError, ValueError, AttributeError, TypeError) as error:
        raise ValueError(
            f"{path}: expected an npz file with {', '.join(names)}, got something else ({error}); "
            "give the basis.npz of a finished run"
        ) from error


def from_numpy(array: np.ndarray) -> Tensor:
    """View an array as a tensor; a read-only or reversed array is copied."""
    needs_copy = not array.flags.writeable or min(array.strides, default=0) < 0
    return torch.from_numpy(array.copy() if needs_copy else array)


def to_numpy(array: Any) -> np.ndarray:
    """Copy a tensor to the host; an array passes through, a number becomes one."""
    return array.cpu().numpy() if isinstance(array, Tensor) else np.asarray(array)


def like(result: Tensor, X: Any) -> Any:
    """Return `result` as X came in: a tensor for a tensor, a NumPy array for anything else."""
    return result if isinstance(X, Tensor) else result.numpy()

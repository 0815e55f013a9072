"""The kernels' floating-point type, written into them as defines."""

import numpy as np

from solver.errors import ShapeError

_OKL = {"float64": ("double", ""), "float32": ("float", "f")}


def real_type(dtype: str) -> str:
    """Return OKL's name of "float64" or "float32"."""
    if dtype not in _OKL:
        raise ShapeError(f"dtype must be float64 or float32, got {dtype!r}; choose one")
    return _OKL[dtype][0]


def real_literal(value: float, dtype: str) -> str:
    """Return a constant of that type as OKL text: rounded to it, never promoting an expression."""
    text = f"{float(np.dtype(dtype).type(value))!r}{_OKL[dtype][1]}"
    return f"({text})" if value < 0 else text

"""The GPU drivers must be in the global symbol scope before libocca is loaded: its references to them are weak."""

import contextlib
import ctypes

for _library in ("libcuda.so.1", "libOpenCL.so.1"):
    with contextlib.suppress(OSError):
        ctypes.CDLL(_library, mode=ctypes.RTLD_GLOBAL)

"""Who moved data, and where in the user's code: read from the call stack."""

import functools
import os
import sys
import sysconfig
from types import CodeType, FrameType
from typing import Literal, NamedTuple

import torch

import solver

__all__ = ["Origin", "origin"]

_PACKAGES = os.path.dirname(os.path.dirname(torch.__file__))
_LIBRARIES = tuple(
    os.path.join(_PACKAGES, name, "")
    for name in ("torch", "numpy", "cupy", "sklearn", "scipy", "mpi4py", "beartype", "jaxtyping")
)
_STANDARD, _SCRIPTS = sysconfig.get_path("stdlib"), sysconfig.get_path("scripts")
_AUDIT = os.path.dirname(__file__)
_ROOT = os.path.dirname(os.path.dirname(_AUDIT))
_WRAPPERS = os.path.join(os.path.dirname(solver.__file__), "field.py")  # on behalf of its callers
_HOUSE = (os.path.dirname(solver.__file__), os.path.dirname(_AUDIT))


class Origin(NamedTuple):
    """Where a transfer was asked for.

    Attributes
    ----------
    who
        The innermost function that is not an array library's, nor a method of `solver.Field`, as ``solver.sides.Sides.update``.
    where
        File and line of the innermost frame that is the user's; those of `who` where none is, as in ``insitu run``, and for
        copies on the device.
    """

    who: str
    where: str


def origin(is_near: bool = False) -> Origin:
    """Return the origin of what the caller does; ``is_near`` takes the line of ``who`` for the user's, which is quicker."""
    frame: FrameType | None = sys._getframe(1)
    who: FrameType | None = None
    while frame is not None:
        owner = _owner(frame.f_code)
        if owner != "library":
            who = who or frame
            if is_near or owner == "user":
                break
        frame = frame.f_back
    if who is None:
        return Origin("a library's own thread", "no line of Python")
    place = frame or who
    return _named(who.f_code, who.f_globals.get("__name__", "?"), place.f_code, place.f_lineno)


@functools.lru_cache(maxsize=4096)
def _named(code: CodeType, module: str, place: CodeType, line: int) -> Origin:
    """Return an origin in words; a file of this package without the folder it is installed in."""
    file = place.co_filename
    if _owner(place) == "house":
        file = os.path.relpath(file, _ROOT)
    return Origin(f"{module}.{code.co_qualname}", f"{file}:{line}")


@functools.lru_cache(maxsize=4096)
def _owner(code: CodeType) -> Literal["library", "house", "user"]:
    """Return whose code it is."""
    file = code.co_filename
    if file.startswith(("<frozen", "<@beartype", _AUDIT, *_LIBRARIES, _SCRIPTS, _WRAPPERS)):
        return "library"
    if file.startswith(_STANDARD) and not file.startswith(_PACKAGES):
        return "library"
    return "house" if file.startswith(_HOUSE) else "user"

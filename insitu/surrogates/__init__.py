"""Models of the whole state, which step a field by a fixed interval."""

from insitu.surrogates.base import Surrogate
from insitu.surrogates.patches import PatchCore
from insitu.surrogates.reduced import ReducedCore

__all__ = ["PatchCore", "ReducedCore", "Surrogate"]

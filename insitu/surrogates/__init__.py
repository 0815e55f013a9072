"""Models of the whole state, which step a field by a fixed interval."""

from insitu.surrogates.base import Surrogate

__all__ = ["Surrogate"]

"""Applications that step themselves, in Python or C++, and hand their fields to in-situ learning."""

from insitu.application.coupling import InSitu

__all__ = ["InSitu"]

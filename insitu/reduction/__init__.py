"""Reductions of snapshots to a few coefficients, one per file."""

from insitu.reduction.pod import POD

__all__ = ["POD"]

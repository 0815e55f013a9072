"""Reductions of snapshots to a few coefficients, one per file."""

from insitu.reduction.pod import POD
from insitu.reduction.streaming_pod import StreamingPOD

__all__ = ["POD", "StreamingPOD"]

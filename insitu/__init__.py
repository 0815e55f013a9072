"""In-situ learning on a running simulation: a zero-copy bridge, snapshots, reduced bases, forecasts, one pipeline."""

import os

# scikit-learn computes on torch tensors only if this is set before SciPy is imported.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

from insitu import ending as ending
from insitu.application import InSitu
from insitu.audit import no_host_transfer
from insitu.bridge import as_cupy, as_numpy, as_torch, from_array, on_stream
from insitu.config import ApplicationCase, Case, CaseError, load_case
from insitu.locality import FieldModel
from insitu.pipeline import run, run_case
from insitu.report import Report
from insitu.sampler import Sampler

__all__ = [
    "ApplicationCase",
    "Case",
    "CaseError",
    "FieldModel",
    "InSitu",
    "Report",
    "Sampler",
    "as_cupy",
    "as_numpy",
    "as_torch",
    "from_array",
    "load_case",
    "no_host_transfer",
    "on_stream",
    "run",
    "run_case",
]

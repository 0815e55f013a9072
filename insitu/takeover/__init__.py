"""A surrogate stands in for the solver as long as the solver's own kernels find it right."""

from insitu.takeover.account import Account
from insitu.takeover.control import Control, Trainer
from insitu.takeover.decisions import Decision, Decisions
from insitu.takeover.interval import Interval
from insitu.takeover.least_squares import LeastSquares
from insitu.takeover.rules import DefectRule
from insitu.takeover.settings import TakeoverSettings
from insitu.takeover.takeover import Takeover

__all__ = [
    "Account",
    "Control",
    "Decision",
    "Decisions",
    "DefectRule",
    "Interval",
    "LeastSquares",
    "Takeover",
    "TakeoverSettings",
    "Trainer",
]

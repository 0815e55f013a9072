"""Models of the whole state, which step a field by a fixed interval."""

from insitu.surrogates.base import Surrogate
from insitu.surrogates.evaluation import SurrogateForecast, Surrogates, evaluate_surrogates
from insitu.surrogates.fitting import Trajectories, fit
from insitu.surrogates.fno import FNO
from insitu.surrogates.patches import PatchCore
from insitu.surrogates.reduced import ReducedCore
from insitu.surrogates.residual_cnn import ResidualCNN

__all__ = [
    "FNO",
    "PatchCore",
    "ReducedCore",
    "ResidualCNN",
    "Surrogate",
    "SurrogateForecast",
    "Surrogates",
    "Trajectories",
    "evaluate_surrogates",
    "fit",
]

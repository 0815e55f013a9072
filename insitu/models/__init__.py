"""Models of the POD coefficients, one per file, behind one protocol."""

from insitu.models.base import Forecaster
from insitu.models.dmd import DMD
from insitu.models.lstm import LSTM
from insitu.models.persistence import Persistence

__all__ = ["DMD", "LSTM", "Forecaster", "Persistence"]

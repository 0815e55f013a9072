"""Self-tests of a coupling: whether it acts on the simulation, sees the field, keeps what it took and refuses what is wrong."""

from insitu.doctor.coupling import Coupling, coupling_of
from insitu.doctor.examination import CHECKS, examine
from insitu.doctor.finding import Finding, table
from insitu.doctor.ranks import launching

__all__ = ["CHECKS", "Coupling", "Finding", "coupling_of", "examine", "launching", "table"]

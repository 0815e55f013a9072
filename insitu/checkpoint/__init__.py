"""One coupled checkpoint of a run: written while it goes on, independent of the number of ranks, resumed to the bit."""

from insitu.checkpoint.keeper import CheckpointError, Keeper, Progress, Resume, Stateful
from insitu.checkpoint.parts import RandomNumbers, ReductionState, SimulationState
from insitu.checkpoint.settings import Checkpoint
from insitu.checkpoint.standing import is_finished
from insitu.checkpoint.stops import Stopped, seconds_of

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Keeper",
    "Progress",
    "RandomNumbers",
    "ReductionState",
    "Resume",
    "SimulationState",
    "Stateful",
    "Stopped",
    "is_finished",
    "seconds_of",
]

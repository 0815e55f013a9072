"""Training of networks: settings, one loop, and where a training is, for another process to go on from."""

from insitu.training.course import Progress, TrainingRecord, Watch
from insitu.training.loop import TrainingError, train
from insitu.training.seeds import seeded
from insitu.training.settings import Training, needs_closure

__all__ = [
    "Progress",
    "Training",
    "TrainingError",
    "TrainingRecord",
    "Watch",
    "needs_closure",
    "seeded",
    "train",
]

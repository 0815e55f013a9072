"""Learning while the simulation runs: pairs from its samples, a trainer between or beside its steps, within a budget."""

from insitu.online.budget import SlowdownBudget
from insitu.online.buffer import Buffer
from insitu.online.settings import Online
from insitu.online.splits import Members, Split, TimeBlocks, leaks
from insitu.online.trainer import OnlineRecord, OnlineTrainer

__all__ = [
    "Buffer",
    "Members",
    "Online",
    "OnlineRecord",
    "OnlineTrainer",
    "SlowdownBudget",
    "Split",
    "TimeBlocks",
    "leaks",
]

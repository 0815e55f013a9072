"""Where the numbers of a running simulation are shown: TensorBoard, Weights & Biases."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from insitu.case_errors import CaseError

__all__ = ["Logger", "TensorBoard", "WandB"]


class Logger(ABC):
    """Takes named numbers along a run, on rank 0."""

    @abstractmethod
    def start(self, folder: Path, kept: Mapping[str, int]) -> None:
        """Begin to log into a run directory.

        Parameters
        ----------
        folder
        kept
            Up to which number what a stopped run logged is kept, by group; what it logged later or in other groups is
            logged again, and the old is dropped where that can be done.

        Raises
        ------
        CaseError
            The package is missing.
        """

    @abstractmethod
    def log(self, values: Mapping[str, float], number: int) -> None:
        """Log values by name, ``group/name``, at a number: a step of the simulation, of a training, an epoch."""

    @abstractmethod
    def finish(self) -> None:
        """Write what is left."""


class TensorBoard(Logger):
    """Event files in ``tensorboard/GROUP`` of the run directory; ``tensorboard --logdir out/burgers`` shows them.

    A group numbers its values by steps of the simulation, of a training or by epochs, so each has its own file.

    Parameters
    ----------
    flush_seconds
        After which new numbers are written.
    """

    def __init__(self, flush_seconds: int = 10):
        self.flush_seconds = flush_seconds
        self._writers: dict[str, Any] = {}

    def start(self, folder: Path, kept: Mapping[str, int]) -> None:
        """Look for the package; a group's file is opened with its first value."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise CaseError(
                "logging TensorBoard needs the package tensorboard, it is not installed; pip install 'insitu[tensorboard]', or "
                "leave it out"
            ) from None
        self._open = lambda group: SummaryWriter(
            str(folder / "tensorboard" / group),
            purge_step=kept.get(group, -1) + 1,
            flush_secs=self.flush_seconds,
        )

    def log(self, values: Mapping[str, float], number: int) -> None:
        """Add scalars."""
        for name, value in values.items():
            group = name.partition("/")[0]
            if group not in self._writers:
                self._writers[group] = self._open(group)
            self._writers[group].add_scalar(name, value, number)

    def finish(self) -> None:
        """Close the event files."""
        for writer in self._writers.values():
            writer.close()


class WandB(Logger):
    """A run of Weights & Biases, offline, in ``wandb/`` of the run directory; ``wandb sync`` uploads it where that is wanted.

    Parameters
    ----------
    project
        Its name there.
    """

    def __init__(self, project: str = "insitu"):
        self.project = project
        self._run: Any = None

    def start(self, folder: Path, kept: Mapping[str, int]) -> None:
        """Begin an offline run."""
        try:
            import wandb
        except ImportError:
            raise CaseError(
                "logging WandB needs the package wandb, it is not installed; pip install 'insitu[wandb]', or leave it out"
            ) from None
        settings = wandb.Settings(console="off", silent=True)
        self._run = wandb.init(
            project=self.project, dir=str(folder), mode="offline", settings=settings
        )

    def log(self, values: Mapping[str, float], number: int) -> None:
        """Log scalars over the number of their group."""
        for name, value in values.items():
            group = name.rpartition("/")[0]
            self._run.log({name: value, f"{group}/number": number})

    def finish(self) -> None:
        """End the run."""
        self._run.finish()

"""A checkpoint on its way to the disk, by a thread, while the run goes on."""

import threading
import time
from pathlib import Path
from typing import Any

from insitu.checkpoint.files import Written, write
from insitu.checkpoint.packing import Packed

__all__ = ["Writing"]


class Writing:
    """The writing of this rank's part.

    Parameters
    ----------
    name
        Of the checkpoint.
    packed
        Copies on the host, which nobody else changes.
    folder
        Of the unfinished checkpoint.
    rank
        Of this part.
    about
        What the manifest says of the run.

    Attributes
    ----------
    written
        The result, once it is not alive any more.
    error
        Why there is none.
    """

    def __init__(self, name: str, packed: Packed, folder: Path, rank: int, about: dict[str, Any]):
        self.name, self.about = name, about
        self.written: Written | None = None
        self.error: str | None = None
        self._work = packed, folder, rank
        self._begin = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="checkpoint", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether it goes on."""
        return self._thread.is_alive()

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._begin

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join()

    def _run(self) -> None:
        try:
            self.written = write(*self._work)
        except Exception as error:
            told = error.strerror if isinstance(error, OSError) else None
            self.error = told or f"{type(error).__name__}: {error}"

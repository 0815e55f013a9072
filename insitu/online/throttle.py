"""How a thread that trains is held back: small pieces of work, sleep between them, rest when it is told to."""

import threading
import time
from collections.abc import Callable

__all__ = ["Throttle"]

_NAP = 0.005  # seconds after which a sleeper looks what has changed


class Throttle:
    """The duty of a worker thread, set by one thread and kept by the other.

    Attributes
    ----------
    busy
        Seconds in which the worker worked.
    """

    def __init__(self) -> None:
        self.busy = 0.0
        self._duty = 0.0
        self._may_work, self._ended = threading.Event(), threading.Event()
        self._rests = 0
        self._resting: int | None = None
        self._since = time.perf_counter()

    @property
    def duty(self) -> float:
        """Share of time in which the worker works; 0: it rests from its next `breathe` on."""
        return self._duty

    @duty.setter
    def duty(self, duty: float) -> None:
        self._duty = duty
        if duty > 0:
            self._may_work.set()
        else:
            self._may_work.clear()

    @property
    def rest(self) -> int | None:
        """The number of the rest in which the worker is, None while it may work.

        The same number before and after a burst says that the worker rested all the while.
        """
        return self._resting

    @property
    def has_ended(self) -> bool:
        """Whether the worker is to return."""
        return self._ended.is_set()

    def end(self) -> None:
        """Wake the worker for the last time."""
        self._ended.set()
        self._may_work.set()

    def breathe(self, meanwhile: Callable[[], None]) -> None:
        """Account for a piece of work and sleep until another may begin; called by the worker.

        During a rest `meanwhile` is called every few milliseconds: little work that cannot wait.
        """
        finished = time.perf_counter()
        worked = finished - self._since
        self.busy += worked
        while not self._ended.is_set():
            duty = self._duty
            if duty <= 0:
                self._rest(meanwhile)
                break
            left = worked * (1 - duty) / duty - (time.perf_counter() - finished)
            if left <= 0:
                break
            time.sleep(min(left, _NAP))
        self._since = time.perf_counter()

    def idle(self) -> None:
        """Note that the time since the last piece of work was spent waiting."""
        self._since = time.perf_counter()

    def _rest(self, meanwhile: Callable[[], None]) -> None:
        self._rests += 1
        self._resting = self._rests
        while not self._may_work.wait(_NAP):
            meanwhile()
        self._resting = None

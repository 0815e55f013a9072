"""How long the solver takes for each burst of steps, on its own stream."""

from collections import deque
from collections.abc import Iterator
from typing import Any

from solver import Device

__all__ = ["BurstClock"]


class BurstClock:
    """Seconds a step of each burst, and what was known before and after it.

    On a GPU bursts are timed by events of the solver's stream, and one is waited for only after the next has been launched, so
    the device never idles and the host is never more than one burst ahead.

    Parameters
    ----------
    device : Device
        Of the solver.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._ahead = 0 if device.is_host else 1
        self._bursts: deque[tuple[Any, Any, int, Any]] = deque()

    def start(self, note: Any) -> None:
        """Mark the beginning of a burst; `note` comes back with its seconds."""
        self._started, self._note = self._device.tag(), note

    def stop(self, steps: int) -> None:
        """Mark the end of a burst of so many steps."""
        if steps:
            self._bursts.append((self._started, self._device.tag(), steps, self._note))

    def finished(self) -> Iterator[tuple[float, Any]]:
        """Yield the seconds a step, and the note, of the bursts that the device has finished."""
        while len(self._bursts) > self._ahead:
            begin, end, steps, note = self._bursts.popleft()
            end.wait()
            yield begin.seconds_until(end) / steps, note

"""The numbers of a run on their way to its loggers."""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from insitu.closure import Closure
from insitu.logs import Logger
from insitu.online.run import OnlineRun
from insitu.takeover import Takeover
from solver import Moment, Simulation

__all__ = ["Scalars"]

_PAUSE = 0.2  # seconds between two looks at a run


class Scalars:
    """Logs the time step, trainings and takeovers along a run; what it reads is on the host anyway.

    Names: ``solver/time``, ``dt``, ``dt_over_limit`` (of the initial values) and ``steps_per_second`` by step; ``online/loss``,
    ``validation_loss``, ``persistence`` by training step; ``budget/p95_inflation`` and ``duty`` of online training by step;
    ``takeover/defect`` and ``estimated_error`` by step; ``training/SPLIT/MODEL/loss`` and ``validation_loss`` by epoch.

    Parameters
    ----------
    loggers
        Of the case. Rank 0 logs.
    simulation
    folder
        The run directory.
    """

    def __init__(self, loggers: Sequence[Logger], simulation: Simulation, folder: Path):
        self._loggers = list(loggers) if simulation.ranks.rank == 0 else []
        self._simulation = simulation
        self._losses = self._looks = self._decisions = 0
        self._looked_at, self._step, self._folder = time.perf_counter(), 0, folder
        self._is_open = False

    def start(self) -> None:
        """Open the loggers where the simulation stands: the solver's numbers from before a checkpoint are logged already.

        Of trainings and takeovers the checkpoint holds all, so they are logged again.

        Raises
        ------
        CaseError
            The package of a logger is missing.
        """
        self._step = self._simulation.step
        for logger in self._loggers:
            logger.start(self._folder, {"solver": self._step, "budget": self._step})
        self._is_open = True

    def beside(
        self,
        moments: Iterator[Moment],
        online: OnlineRun | None = None,
        driver: Takeover | Closure | None = None,
    ) -> Iterator[Moment]:
        """Log while the simulation goes on; its moments are passed on."""
        for moment in moments:
            if self._loggers and time.perf_counter() - self._looked_at > _PAUSE:
                self._look(moment, online, driver)
            yield moment
        if self._loggers:
            self._look(self._simulation.moment, online, driver)

    def trained(self, learning: Mapping[str, Any], surrogates: Mapping[str, Any]) -> None:
        """Log the losses of the trainings after the run, as the report has them."""
        found = {
            f"{split}/{name}": model["training"]
            for split, numbers in learning.items()
            for name, model in numbers["models"].items()
        }
        found |= {f"surrogates/{name}": each["training"] for name, each in surrogates.items()}
        for name, training in found.items():
            for kind in ("loss", "validation_loss") if training else ():
                for epoch, loss in enumerate(training[kind]):
                    self._log({f"training/{name}/{kind}": float(loss)}, epoch)

    def finish(self) -> None:
        """Write what is left."""
        if self._is_open:
            for logger in self._loggers:
                logger.finish()

    def _look(
        self, moment: Moment, online: OnlineRun | None, driver: Takeover | Closure | None
    ) -> None:
        now, dt = time.perf_counter(), self._simulation.dt_taken
        if moment.step > self._step and dt is not None:
            rate = (moment.step - self._step) / max(now - self._looked_at, 1e-9)
            values = {"time": moment.time, "dt": dt, "dt_over_limit": dt / self._simulation.limit}
            values["steps_per_second"] = rate
            self._log({f"solver/{name}": value for name, value in values.items()}, moment.step)
        self._looked_at, self._step = now, moment.step
        if online is not None:
            self._look_at_training(online, moment.step)
        if isinstance(driver, Takeover):
            self._look_at_takeover(driver)

    def _look_at_training(self, online: OnlineRun, step: int) -> None:
        record = online.trainer.record
        losses, looks = list(record.loss), list(record.validation)
        every = online.settings.validate_every
        for n, loss in enumerate(losses[self._losses :], self._losses + 1):
            self._log({"online/loss": float(loss)}, min(n * every, record.steps))
        for number, loss, persistence in looks[self._looks :]:
            values = {"validation_loss": float(loss), "persistence": float(persistence)}
            self._log({f"online/{name}": value for name, value in values.items()}, int(number))
        self._losses, self._looks = len(losses), len(looks)
        if online.budget is not None:
            summary = online.budget.summary()
            values = {"p95_inflation": summary["inflation"], "duty": summary["duty"]}
            known = {f"budget/{n}": float(v) for n, v in values.items() if v is not None}
            self._log(known, step)

    def _look_at_takeover(self, takeover: Takeover) -> None:
        entries = takeover.decisions.entries
        for entry in entries[self._decisions :]:
            values = {"takeover/estimated_error": entry.error}
            if entry.defect is not None:
                values["takeover/defect"] = entry.defect
            self._log(values, entry.step)
        self._decisions = len(entries)

    def _log(self, values: Mapping[str, float], number: int) -> None:
        for logger in self._loggers:
            logger.log(values, number)

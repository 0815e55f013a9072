"""What a run has learnt so far: the fits that are done, and where the trainings of the one in its midst are."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from insitu.distributed import Local, own_part
from insitu.training import Progress, TrainingRecord, Watch

__all__ = ["Interruptions", "Lessons", "Paused"]


Record = TypeVar("Record", bound=TrainingRecord | None)


class Paused(Exception):
    """A fit of one rank is left so that all ranks can look whether to stop or to write, and is then gone on with."""


@runtime_checkable
class Interruptions(Protocol):
    """Who may want a fit to stop, or to have its state: the keeper of a run."""

    def look(self, stage: str) -> None:
        """Stop, or write, if it is time to; all ranks call it."""

    def is_called(self, seconds: float) -> bool:
        """Return whether a fit that the first rank does alone is to pause, which would save so much of its work."""

    def pause(self) -> None:
        """Stop, or write, where it is due; all ranks call it, at the end of a fit or in a pause."""


@runtime_checkable
class State(Protocol):
    """Something with a state, as a model."""

    def state_dict(self) -> Any:
        """Return it."""

    def load_state_dict(self, state: Any) -> Any:
        """Take it over."""


class Lessons:
    """The fits of a run, which a resumed run need not do again, and goes on with where one was left in its midst.

    Parameters
    ----------
    keeper
        May interrupt a fit; None: nobody does.
    random
        The global random numbers, for models that draw from them: a fit that goes on begins with those it began with.
    """

    def __init__(self, keeper: Interruptions | None = None, random: State | None = None):
        self._keeper, self._random = keeper, random
        self._done: dict[str, dict[str, Any]] = {}
        self._midst: dict[str, Any] = {}
        self._watch: Watch | None = None
        self._passed = 0

    def __len__(self) -> int:
        """Return how far learning is: fits that are done and batches that were trained on, on the rank that did it."""
        return self._passed + (self._watch.batches if self._watch else 0)

    def state_dict(self) -> dict[str, Any]:
        """Return record and model of each fit that is done and the trainings of the one that is not, as rank 0 has them."""
        done = {
            name: fit | {"random": Local(fit["random"]), "model": fit["model"]}
            for name, fit in self._done.items()
        }
        midst = self._midst
        if self._watch is not None:
            midst = midst | {"trainings": self._watch.state_dict()}
        return {"done": done, "midst": midst, "passed": len(self)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self._done, self._midst = dict(state["done"]), state["midst"]
        self._passed = state["passed"]

    def learn(
        self,
        name: str,
        model: State,
        fit: Callable[[Progress], Record],
        device: torch.device,
        progress: Progress | None = None,
        is_alone: bool = False,
    ) -> Record:
        """Fit a model, or give it the state that the fit of that name had; all ranks call it.

        Parameters
        ----------
        name
            Of the fit, the same in every run of the case.
        model
            What `fit` changes.
        fit
            From a progress to a record. It is called again, and then goes on with the trainings it had begun, where the first
            rank pauses.
        device
            Where the model is to be.
        progress
            Shown each epoch.
        is_alone
            Whether the first of several ranks fits, and the others wait for it inside `fit`.

        Raises
        ------
        Exception
            Whatever the fit raises, or the keeper to stop the run.
        """
        if name in self._done:
            return self._restored(self._done[name], model, device)
        made = self._fit(name, fit, progress, is_alone)
        self._done[name] = {
            "record": None if made is None else asdict(made),
            "model": model.state_dict(),
            "random": self._random_now(),
        }
        if self._keeper is not None:
            self._keeper.pause()
        return made

    def _restored(self, done: Mapping[str, Any], model: State, device: torch.device) -> Any:
        model.load_state_dict(_moved(done["model"], device))
        self._set_random(done["random"])
        return None if done["record"] is None else TrainingRecord(**done["record"])

    def _fit(
        self,
        name: str,
        fit: Callable[[Progress], Record],
        progress: Progress | None,
        is_alone: bool,
    ) -> Record:
        watch = self._watch = Watch(progress, self._pause if is_alone else self._look)
        if self._midst.get("name") == name:
            watch.load_state_dict(self._midst["trainings"])
        self._midst = {"name": name}
        random = self._random_now()
        while True:
            try:
                made = fit(watch)
                break
            except Paused:
                if self._keeper is not None:
                    self._keeper.pause()
                self._set_random(random)
        self._passed, self._watch, self._midst = len(self) + 1, None, {}
        return made

    def _look(self, watch: Watch) -> None:
        if self._keeper is not None:
            self._keeper.look("learning")

    def _pause(self, watch: Watch) -> None:
        if self._keeper is not None and self._keeper.is_called(watch.seconds):
            raise Paused("a fit is left for a look of all ranks")

    def _random_now(self) -> Any:
        return None if self._random is None else own_part(self._random.state_dict())

    def _set_random(self, state: Any) -> None:
        if self._random is not None and state is not None:
            self._random.load_state_dict(state)


def _moved(state: Any, device: torch.device) -> Any:
    """Return a state with its tensors on a device."""
    if isinstance(state, Tensor):
        return state.to(device)
    if isinstance(state, Mapping):
        return {name: _moved(each, device) for name, each in state.items()}
    return (
        type(state)(_moved(each, device) for each in state)
        if type(state) in (list, tuple)
        else state
    )

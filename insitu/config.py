"""A case: everything a run depends on, as frozen dataclasses that a YAML file and flags fill."""

import copy
import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from jsonargparse import ArgumentError, ArgumentParser, Namespace

from insitu.audit import Transfers
from insitu.case_errors import CaseError, one_sentence
from insitu.checkpoint.settings import Checkpoint
from insitu.closure import ClosureSettings
from insitu.exact import Exact
from insitu.fields.settings import FieldFile
from insitu.logs import Logger, TensorBoard, WandB
from insitu.models import DMD, LSTM, Forecaster, Persistence
from insitu.online import Online
from insitu.reduction import POD
from insitu.surrogates import Surrogates
from insitu.takeover import TakeoverSettings
from insitu.training import seeded
from solver import Device, Equation, Grid, Simulation, SolverError

__all__ = [
    "ApplicationCase",
    "Case",
    "CaseError",
    "Convergence",
    "Learning",
    "Sampling",
    "Split",
    "TensorBoard",
    "Time",
    "WandB",
    "add_case",
    "instantiate",
    "load_application_case",
    "load_case",
]

Split = Literal["published", "causal"]
AnyCase = TypeVar("AnyCase", bound="Case")


@dataclass(frozen=True)
class Time:
    """How far the simulation goes; with ``until`` and ``steps`` whichever ends first.

    Parameters
    ----------
    until
        Simulated time to reach, in the equation's unit.
    steps
        Steps to take.
    dt
        Time step; null takes 0.9 of the stability limit.
    cfl
        Instead of dt: this fraction of the stability limit for the present max|u|, so the step follows the solution.
    method
        Runge-Kutta method: euler, ssp-rk2, ssp-rk3, rk4; null takes the equation's own.
    force
        Accept a dt above the stability limit.
    """

    until: float | None = None
    steps: int | None = None
    dt: float | None = None
    cfl: float | None = None
    method: str | None = None
    force: bool = False

    def __post_init__(self) -> None:
        if self.until is None and self.steps is None:
            raise CaseError("time needs until or steps, got neither; give one")
        if self.steps is not None and self.steps < 1:
            raise CaseError(
                f"time.steps must be 1 or more, got {self.steps}; give the steps to take"
            )
        if self.until is not None and not self.until > 0:
            raise CaseError(
                f"time.until must be positive, got {self.until}; give the time to reach"
            )


@dataclass(frozen=True)
class Sampling:
    """Which snapshots are kept on the device.

    Parameters
    ----------
    every
        Steps between snapshots; null takes one each step.
    interval
        Instead of every: simulated time between snapshots, met exactly; the way to sample a run with time.cfl.
    window
        Snapshots held at most, the oldest are overwritten; null holds all of the run.
    """

    every: int | None = None
    interval: float | None = None
    window: int | None = None

    def __post_init__(self) -> None:
        if self.every is not None and self.interval is not None:
            raise CaseError(
                f"sampling needs every or interval, got {self.every} and {self.interval}; leave one out"
            )
        if self.every is not None and self.every < 1:
            raise CaseError(f"sampling.every must be 1 or more steps, got {self.every}; correct it")
        if self.interval is not None and not 0 < self.interval < math.inf:
            raise CaseError(
                f"sampling.interval must be a positive time, got {self.interval}; give it in the equation's unit"
            )
        if self.window is not None and self.window < 1:
            raise CaseError(
                f"sampling.window must be 1 or more snapshots, got {self.window}; correct it or leave it out"
            )


@dataclass(frozen=True)
class Learning:
    """What is learnt from the snapshots, and on which of them.

    Parameters
    ----------
    train_fraction
        Leading part of the snapshots the models are trained on; the rest is forecast.
    splits
        "published": the basis is computed from all snapshots, as in the mini-app study, so it has seen the span that is
        forecast. "causal": basis and scaler see the training span only. The first one is saved and drawn, all are reported.
    reduction
        From snapshots to coefficients. A StreamingPOD is also shown what a window shorter than the run overwrites: its basis
        is that of the whole run, though models are trained and tried on the last window.
    model
        The forecasting model.
    baselines
        Models reported beside it.
    surrogates
        Models of the whole state, reported beside them; null trains none.
    """

    train_fraction: float = 0.5
    splits: list[Split] = field(default_factory=lambda: ["published", "causal"])
    reduction: POD = field(default_factory=lambda: POD(rank=3))
    model: Forecaster = field(default_factory=LSTM)
    baselines: list[Forecaster] = field(default_factory=lambda: [DMD(), Persistence()])
    surrogates: Surrogates | None = None

    def __post_init__(self) -> None:
        if not 0 < self.train_fraction < 1:
            raise CaseError(
                f"learning.train_fraction must lie between 0 and 1, got {self.train_fraction}; try 0.5"
            )
        if not self.splits or len(set(self.splits)) != len(self.splits):
            raise CaseError(
                f"learning.splits must name published, causal or both once, got {self.splits}; correct it"
            )


@dataclass(frozen=True)
class Convergence:
    """The observed order of a scheme, by least squares over grids or time steps, and the band it must keep to.

    Parameters
    ----------
    band
        Lowest and highest order that pass; null where the case has no such study.
    exact
        Exact solution by its class name, see `insitu.exact`; it gives initial values, sides and forcing. "self" compares each
        grid with the next finer one instead, from the case's own initial condition.
    refine
        "space": finer grids. "time": the case's grid, shorter steps, each compared with the next shorter one.
    points
        Points of each grid; null refines grid.points.
    levels
        Number of grids, or of time steps, where no points are given.
    factor
        Refinement from one to the next.
    dt
        Time step over the grids: "limit" 0.9 of each one's stability limit (or time.cfl of it), "fixed" time.dt on all,
        "advective" time.dt on the first and then as Δx, "diffusive" as Δx².
    norm
        "l2" or "max" of the error over that of the solution.
    """

    band: tuple[float, float] | None = None
    exact: Exact | Literal["self"] = "self"
    refine: Literal["space", "time"] = "space"
    points: list[tuple[int, ...]] | None = None
    levels: int = 4
    factor: int = 2
    dt: Literal["limit", "fixed", "advective", "diffusive"] = "limit"
    norm: Literal["l2", "max"] = "l2"

    def __post_init__(self) -> None:
        if self.band is not None and not self.band[0] < self.band[1]:
            raise CaseError(
                f"convergence.band must be the lowest and the highest order that pass, got {list(self.band)}; order them"
            )
        if self.factor < 2:
            raise CaseError(
                f"convergence.factor must be 2 or more, got {self.factor}; grids are to become finer"
            )
        levels = self.levels if self.points is None else len(self.points)
        if levels < self.least_levels:
            raise CaseError(
                f"an order needs at least {self.least_levels} {'grids' if self.refine == 'space' else 'time steps'}"
                f"{'' if self.has_reference else ', each compared with the next'}, got {levels}; add to convergence."
                f"{'levels' if self.points is None else 'points'}"
            )
        if self.refine == "time" and (self.points is not None or self.dt != "limit"):
            raise CaseError(
                "convergence.refine time keeps the grid and divides time.dt, got points or dt; leave them out"
            )

    @property
    def has_reference(self) -> bool:
        """Whether errors are taken against an exact solution, not against the next level."""
        return self.exact != "self" and self.refine == "space"

    @property
    def least_levels(self) -> int:
        """Levels that give three errors."""
        return 3 if self.has_reference else 4


@dataclass(frozen=True)
class Case:
    """One coupled run.

    Parameters
    ----------
    grid
        Points, extent and boundaries along each axis; periodic where no boundaries are given.
    equation
        The equation by its class path, and its parameters; a list of numbers makes an ensemble.
    time
        How far, with which step.
    device
        cpu, gpu, Serial, OpenMP, CUDA, CUDA:1, HIP:0, ..., or auto, the best present; $INSITU_DEVICE overrules it.
    dtype
        Precision of the solver and of the learning.
    initial
        Name of the initial condition (sin, gaussian), or a function of the coordinates by its import path, as
        insitu.flows.DoubleShearLayer.
    members
        Size of an ensemble whose members share all parameters; null where the equation's lists say it.
    ranks
        Ranks along each axis of the grid; null: members are shared out first, then blocks of the smallest surface.
    sampling
        Which snapshots are kept.
    learning
        What is learnt from them.
    online
        A model of the state that is trained while the simulation runs; null: none.
    takeover
        A surrogate that takes steps where the solver's kernels find it right; null: none. Constant steps.
    closure
        A model that supplies a field of the equation at every step; null: none. Not together with takeover.
    convergence
        What `insitu converge` checks; a run ignores it.
    transfers
        What may pass between device and host; a run that moves more fails.
    checkpoint
        When all that the rest of the run depends on is written, to be resumed after a stop or a kill.
    fields
        A file of the fields over time, for ParaView or xarray; null: none.
    logging
        Where numbers are shown along the run: TensorBoard, WandB; none where it is left out.

    Raises
    ------
    CaseError
        Keys contradict each other.
    """

    grid: Grid
    equation: Equation
    time: Time
    device: str = "auto"
    dtype: Literal["float64", "float32"] = "float64"
    initial: str | Callable[..., Any] = "sin"
    members: int | None = None
    ranks: tuple[int, ...] | None = None
    sampling: Sampling = field(default_factory=Sampling)
    learning: Learning = field(default_factory=Learning)
    online: Online | None = None
    takeover: TakeoverSettings | None = None
    closure: ClosureSettings | None = None
    convergence: Convergence = field(default_factory=Convergence)
    transfers: Transfers = field(default_factory=Transfers)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    fields: FieldFile | None = None
    logging: list[Logger] = field(default_factory=list)

    def simulation(self, device: Device, comm: Any = None) -> Simulation:
        """Return the simulation of the case at its beginning, shared by the ranks of ``comm``; see `solver.Simulation`."""
        time = self.time
        return Simulation(
            device,
            self.grid,
            self.equation,
            self.initial,
            time.dt,
            self.dtype,
            time.force,
            time.method,
            time.cfl,
            self.members,
            comm,
            self.ranks,
        )

    def __post_init__(self) -> None:
        if self.takeover is not None and self.closure is not None:
            raise CaseError(
                "a case has a takeover or a closure, got both; a surrogate cannot tell what a closure would add, leave one out"
            )
        if self.takeover is not None and self.online is not None:
            raise CaseError(
                "a case has a takeover or online training, got both; training would see the surrogate's own states, leave one out"
            )
        wanted = (self.fields and self.fields.variables) or []
        if "pressure" in wanted and (self.takeover is not None or self.closure is not None):
            raise CaseError(
                "fields.variables may name the pressure where the solver is alone, got a takeover or a closure; leave it out"
            )


@dataclass(frozen=True)
class ApplicationCase(Case):
    """What an application that steps itself may leave open: a case of which nothing but the learning is needed.

    Parameters
    ----------
    grid
        The whole grid; null: the application declares it. Where both do they must agree.
    equation
        What the application solves, for its own use.
    time
        How far it goes; of use to know how many snapshots there will be.

    Raises
    ------
    CaseError
        Keys ask for what only this project's own solver can do.
    """

    grid: Grid | None = None  # type: ignore[assignment]
    equation: Equation | None = None  # type: ignore[assignment]
    time: Time | None = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        super().__post_init__()
        refused = {
            "takeover": self.takeover is not None,
            "online.mode overlapped": self.online is not None and self.online.mode == "overlapped",
            "members": self.members is not None,
            "learning.surrogates": self.learning.surrogates is not None,
            "fields": self.fields is not None,
            "logging": bool(self.logging),
        }
        asked = [name for name, is_asked in refused.items() if is_asked]
        if asked:
            raise CaseError(
                f"an application that steps itself has no {' and no '.join(asked)}, which are for runs of the solver here; "
                "leave it out"
            )


_DEFAULTS: dict[str, Any] = {
    "learning.reduction": {"class_path": "insitu.reduction.POD", "init_args": {"rank": 3}},
    "learning.model": {"class_path": "insitu.models.LSTM"},
    "learning.baselines": [
        {"class_path": "insitu.models.DMD"},
        {"class_path": "insitu.models.Persistence"},
    ],
}


def add_case(parser: ArgumentParser, kind: type[Case] = Case) -> None:
    """Give a parser the keys of a case as flags, and ``--config`` for its file."""
    parser.add_argument(
        "--config", action="config", help="case file (YAML); CASE on the command line stands for it"
    )
    parser.add_class_arguments(kind, as_group=False)
    parser.set_defaults(_DEFAULTS)


def instantiate(parser: ArgumentParser, settings: Namespace) -> Case:
    """Return the case of parsed settings; networks in it begin with weights of ``online.seed``.

    Raises
    ------
    CaseError, ParameterError
        A value is outside its range.
    """
    return _made(Case, parser, settings)


def load_case(
    path: str | os.PathLike[str], overrides: Mapping[str, Any] | None = None
) -> tuple[Case, dict[str, Any]]:
    """Read a case file.

    Parameters
    ----------
    path
        YAML file.
    overrides
        Values by dotted key, as ``{"time.until": 1.0}``.

    Returns
    -------
    Case
        Ready to run.
    dict
        The same with every default written out, as plain values.

    Raises
    ------
    CaseError
        The file is missing, a key is unknown, or a value has the wrong type.
    """
    return _load(Case, path, overrides)


def load_application_case(
    path: str | os.PathLike[str], overrides: Mapping[str, Any] | None = None
) -> tuple[ApplicationCase, dict[str, Any]]:
    """Read the case file of an application that steps itself; see `load_case`."""
    return _load(ApplicationCase, path, overrides)


def resolved(parser: ArgumentParser, settings: Namespace) -> dict[str, Any]:
    """Return the settings as plain values, defaults included, without the path they came from."""
    plain: dict[str, Any] = json.loads(parser.dump(settings, skip_unset=False, format="json"))
    plain.pop("config", None)
    return plain


def as_yaml(plain: Mapping[str, Any]) -> str:
    """Return plain values as the text of a case file."""
    is_whole = all(plain.get(key) for key in ("grid", "equation", "time"))
    parser = ArgumentParser(exit_on_error=False)
    add_case(parser, Case if is_whole else ApplicationCase)
    return str(parser.dump(parser.parse_object(copy.deepcopy(dict(plain))), skip_unset=False))


def _load(
    kind: type[AnyCase], path: str | os.PathLike[str], overrides: Mapping[str, Any] | None
) -> tuple[AnyCase, dict[str, Any]]:
    if not Path(path).is_file():
        raise CaseError(
            f"a case file is expected, {path} is none; give the path of a YAML file such as jobs/burgers.yaml"
        )
    parser = ArgumentParser(exit_on_error=False)
    add_case(parser, kind)
    arguments = [
        f"--config={path}",
        *(f"--{key}={_as_text(value)}" for key, value in (overrides or {}).items()),
    ]
    try:
        settings = parser.parse_args(arguments)
    except ArgumentError as error:
        raise CaseError(one_sentence(error)) from None
    return _made(kind, parser, settings), resolved(parser, settings)


def _made(kind: type[AnyCase], parser: ArgumentParser, settings: Namespace) -> AnyCase:
    try:
        with seeded(settings.get("online.seed", 0), torch.device("cpu")):
            made = parser.instantiate(settings)
    except (ArgumentError, ValueError) as error:
        if isinstance(error, SolverError | CaseError):
            raise
        raise CaseError(one_sentence(error)) from None
    return kind(**{name: made[name] for name in kind.__dataclass_fields__})


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)

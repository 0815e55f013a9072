"""A case: everything a run depends on, as frozen dataclasses that a YAML file and flags fill."""

import copy
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from insitu.models import DMD, LSTM, Forecaster, Persistence
from insitu.reduction import POD
from solver import Burgers, Grid

__all__ = [
    "Case",
    "CaseError",
    "Learning",
    "Sampling",
    "Split",
    "Time",
    "add_case",
    "instantiate",
    "load_case",
]

Split = Literal["published", "causal"]


class CaseError(ValueError):
    """A case that cannot be run as it is written."""


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
    force
        Accept a dt above the stability limit.
    """

    until: float | None = None
    steps: int | None = None
    dt: float | None = None
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
        Steps between snapshots.
    window
        Snapshots held at most, the oldest are overwritten; null holds all of the run.
    """

    every: int = 1
    window: int | None = None

    def __post_init__(self) -> None:
        if self.every < 1:
            raise CaseError(f"sampling.every must be 1 or more steps, got {self.every}; correct it")
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
        From snapshots to coefficients.
    model
        The forecasting model.
    baselines
        Models reported beside it.
    """

    train_fraction: float = 0.5
    splits: list[Split] = field(default_factory=lambda: ["published", "causal"])
    reduction: POD = field(default_factory=lambda: POD(rank=3))
    model: Forecaster = field(default_factory=LSTM)
    baselines: list[Forecaster] = field(default_factory=lambda: [DMD(), Persistence()])

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
class Case:
    """One coupled run.

    Parameters
    ----------
    grid
        Points and extent along each axis, periodic.
    equation
        The equation and its parameters.
    time
        How far, with which step.
    device
        Serial, OpenMP, CUDA, CUDA:1, HIP:0, ..., or auto: $INSITU_DEVICE, else the best mode present.
    dtype
        Precision of the solver and of the learning.
    initial
        Name of the initial condition: sin, gaussian.
    sampling
        Which snapshots are kept.
    learning
        What is learnt from them.
    """

    grid: Grid
    equation: Burgers
    time: Time
    device: str = "auto"
    dtype: Literal["float64", "float32"] = "float64"
    initial: str = "sin"
    sampling: Sampling = field(default_factory=Sampling)
    learning: Learning = field(default_factory=Learning)


_DEFAULTS: dict[str, Any] = {
    "learning.reduction": {"class_path": "insitu.reduction.POD", "init_args": {"rank": 3}},
    "learning.model": {"class_path": "insitu.models.LSTM"},
    "learning.baselines": [
        {"class_path": "insitu.models.DMD"},
        {"class_path": "insitu.models.Persistence"},
    ],
}


def add_case(parser: ArgumentParser) -> None:
    """Give a parser the keys of a case as flags, and ``--config`` for its file."""
    parser.add_argument(
        "--config", action="config", help="case file (YAML); CASE on the command line stands for it"
    )
    parser.add_class_arguments(Case, as_group=False)
    parser.set_defaults(_DEFAULTS)


def instantiate(parser: ArgumentParser, settings: Namespace) -> Case:
    """Return the case of parsed settings.

    Raises
    ------
    CaseError, ParameterError
        A value is outside its range.
    """
    made = parser.instantiate(settings)
    return Case(**{name: made[name] for name in Case.__dataclass_fields__})


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
    if not Path(path).is_file():
        raise CaseError(
            f"a case file is expected, {path} is none; give the path of a YAML file such as jobs/burgers.yaml"
        )
    parser = ArgumentParser(exit_on_error=False)
    add_case(parser)
    arguments = [
        f"--config={path}",
        *(f"--{key}={_as_text(value)}" for key, value in (overrides or {}).items()),
    ]
    try:
        settings = parser.parse_args(arguments)
    except ArgumentError as error:
        raise CaseError(one_sentence(error)) from None
    return instantiate(parser, settings), resolved(parser, settings)


def resolved(parser: ArgumentParser, settings: Namespace) -> dict[str, Any]:
    """Return the settings as plain values, defaults included, without the path they came from."""
    plain: dict[str, Any] = json.loads(parser.dump(settings, skip_unset=False, format="json"))
    plain.pop("config", None)
    return plain


def as_yaml(plain: Mapping[str, Any]) -> str:
    """Return plain values as the text of a case file."""
    parser = ArgumentParser(exit_on_error=False)
    add_case(parser)
    return str(parser.dump(parser.parse_object(copy.deepcopy(dict(plain))), skip_unset=False))


def one_sentence(error: Exception) -> str:
    """Return a parser's message as one sentence: expected, got, remedy."""
    text = " ".join(str(error).split())
    key = re.search(r'[Kk]ey "([^"]+)"', text)
    expected = re.findall(r"Expected a (?:<class '(\w+)'>|typing\.Literal\[(.*?)\])", text)
    got = re.search(r"(?:Got value|Given value): (.*?)(?: Given value type.*)?$", text)
    unknown = re.search(r"unrecognized arguments: (.*)", text) or re.search(
        r'Key "([^"]+)" is not expected', text
    )
    if unknown:
        return f"only keys of a case are expected, got {unknown[1]}; `insitu run --help` lists them"
    if key and expected and got:
        names = [
            "null" if name == "NoneType" else name for pair in expected for name in pair if name
        ]
        return f"{key[1]} must be {' or '.join(names)}, got {got[1]}; `insitu run --help` explains each key"
    return f"{text}; `insitu run --help` explains each key"


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)

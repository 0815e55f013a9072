"""The observed order of a scheme on a case: ``insitu converge CASE``."""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from insitu.config import Case, CaseError, Convergence
from insitu.exact import Exact, Function
from insitu.figures import draw_convergence
from insitu.refinement import restrict, sides_of
from insitu.report import finite, prepare_folder, provenance
from solver import Device, Grid, Simulation, name_of_run

__all__ = ["Level", "Study", "converge"]

Progress = Callable[[str, int, int | None], None]


@dataclass
class Level:
    """One grid and time step.

    Attributes
    ----------
    size
        What is refined: the grid's spacing (the geometric mean over the axes) or the time step.
    error
        Over the norm of the solution; None where there is no finer level to compare with.
    order
        Against the level before.
    """

    points: tuple[int, ...]
    dt: float
    steps: int
    size: float
    error: float | None = None
    order: float | None = None


@dataclass
class Study:
    """An order and what it came from, as written to ``convergence.json``."""

    refine: str
    norm: str
    exact: str
    band: tuple[float, float]
    levels: list[Level] = field(default_factory=list)
    order: float = math.nan
    seconds: float = 0.0

    @property
    def has_passed(self) -> bool:
        """Whether the order keeps to its band."""
        return self.band[0] <= self.order <= self.band[1]

    def judge(self) -> None:
        """Take the order of the errors: from one level to the next, and by least squares over all.

        Raises
        ------
        CaseError
            An error is zero.
        """
        known = [level for level in self.levels if level.error is not None]
        if not all(level.error for level in known):
            raise CaseError(
                "errors must be above zero to have an order, got a level without any; choose a solution that the scheme does not "
                "meet exactly"
            )
        for before, level in pairwise(known):
            level.order = math.log(before.error / level.error) / math.log(before.size / level.size)  # type: ignore[operator]
        sizes, errors = np.log([[level.size, level.error or 0.0] for level in known]).T
        self.order = float(np.polyfit(sizes, errors, 1)[0])

    def table(self) -> str:
        """Return the levels as text."""
        lines = [f"{'points':<14} {'dt':>11} {'steps':>8} {'error':>11} {'order':>7}"]
        for level in self.levels:
            error = "(reference)" if level.error is None else f"{level.error:.3e}"
            order = "" if level.order is None else f"{level.order:.3f}"
            points = " x ".join(map(str, level.points))
            lines.append(
                f"{points:<14} {level.dt:>11.4e} {level.steps:>8} {error:>11} {order:>7}".rstrip()
            )
        return "\n".join(lines)

    def verdict(self) -> str:
        """Return the order and its band in one sentence."""
        place = "within" if self.has_passed else "outside"
        return f"order {self.order:.3f} in {self.refine} ({self.norm}), {place} [{self.band[0]:g}, {self.band[1]:g}]"

    def write(self, folder: Path, about: Mapping[str, Any]) -> None:
        """Write ``convergence.json`` and its figure."""
        numbers = {"status": "passed" if self.has_passed else "failed", **asdict(self), **about}
        text = json.dumps(finite(numbers), indent=2)
        (folder / "convergence.json").write_text(text + "\n")
        known = [level for level in self.levels if level.error is not None]
        sizes, errors = np.array([[level.size, level.error] for level in known]).T
        label = "spacing" if self.refine == "space" else "time step"
        draw_convergence(
            folder / "figures" / "convergence.png", sizes, errors, self.order, self.band, label
        )


def converge(
    case: Case,
    resolved: Mapping[str, Any],
    folder: Path,
    comm: Any = None,
    progress: Progress = lambda *_: None,
) -> Study:
    """Run a loaded case on every level of its section ``convergence``, and take the order.

    Writes ``convergence.json`` and ``figures/convergence.png`` into ``folder``.

    Raises
    ------
    CaseError, SolverError
        The case cannot be run as it is written.
    DivergenceError
        A level left the finite numbers.
    """
    settings = _require(case)
    grids = _grids(case.grid, settings)
    started = time.perf_counter()
    prepare_folder(folder)
    device = Device.open(name_of_run(case.device), comm)
    exact = "self" if settings.exact == "self" else type(settings.exact).__name__
    study = Study(settings.refine, settings.norm, exact, settings.band or (0.0, 0.0))
    values: list[np.ndarray] = []
    for number, grid in enumerate(grids):
        run = _run(device, case, grid, _time_step(case, settings, study.levels, grid, number))
        size = _spacing(grid) if settings.refine == "space" else run.dt_taken
        study.levels.append(
            Level(grid.points, float(run.dt_taken or 0), run.step, float(size or 0))
        )
        values.append(run.u.to_host().astype(np.float64))
        progress("convergence, levels", number + 1, len(grids))
    _compare(case, settings, study, grids, values)
    study.judge()
    study.seconds = time.perf_counter() - started
    study.write(folder, {"case": dict(resolved), "provenance": provenance(device)})
    return study


def _require(case: Case) -> Convergence:
    settings = case.convergence
    if settings.band is None:
        raise CaseError(
            "convergence.band must be the lowest and the highest order that pass, got none; give the case a section convergence "
            "with at least a band such as [1.9, 2.1]"
        )
    if case.time.until is None or case.time.steps is not None:
        raise CaseError(
            f"levels are compared at one time, time.until, got until {case.time.until} and steps {case.time.steps}; give until"
        )
    if case.members is not None or case.equation.members is not None:
        raise CaseError(
            f"an order is that of one solution, got an ensemble of {case.members or case.equation.members}; give single numbers"
        )
    is_limited = settings.dt == "limit" and settings.refine == "space"
    if is_limited and case.time.dt is not None:
        raise CaseError(
            f"with time.dt = {case.time.dt:g} convergence.dt must be fixed, advective or diffusive, got limit; leave dt out or "
            "choose one"
        )
    if not is_limited and case.time.cfl is not None:
        raise CaseError(
            f"time.cfl goes with convergence.dt limit and refine space, got {settings.dt} and {settings.refine}; leave cfl out"
        )
    if settings.dt == "fixed" and case.time.dt is None:
        raise CaseError(
            "convergence.dt fixed needs time.dt, got none; give one that is stable on the finest grid"
        )
    return settings


def _grids(grid: Grid, settings: Convergence) -> list[Grid]:
    if settings.refine == "time":
        return [grid] * settings.levels
    points = settings.points or [
        tuple(n * settings.factor**level for n in grid.points) for level in range(settings.levels)
    ]
    grids = [replace(grid, points=tuple(each)) for each in points]
    ratios = [_spacing(coarse) / _spacing(fine) for coarse, fine in pairwise(grids)]
    if not settings.has_reference and max(ratios) > min(ratios) * (1 + 1e-9):
        raise CaseError(
            f"grids that are compared with the next finer one must refine by one factor, got {[round(r, 3) for r in ratios]}; "
            "correct convergence.points"
        )
    if min(ratios) <= 1:
        raise CaseError(
            f"convergence.points must become finer from one grid to the next, got {[list(each) for each in points]}; order them"
        )
    return grids


def _spacing(grid: Grid) -> float:
    return math.prod(grid.spacing) ** (1 / len(grid.points))


def _time_step(
    case: Case, settings: Convergence, before: list[Level], grid: Grid, number: int
) -> float | None:
    """Return a time step that divides ``time.until``, or None for 0.9 of the stability limit."""
    given, until = case.time.dt, float(case.time.until or 0)
    if settings.refine == "space" and settings.dt == "limit":
        return None
    if not before:
        return None if given is None else until / _count(until / given)
    first = before[0]
    if settings.refine == "time":
        return until / (first.steps * settings.factor**number)
    power = {"fixed": 0, "advective": 1, "diffusive": 2}[settings.dt]
    return until / _count(until / first.dt * (first.size / _spacing(grid)) ** power)


def _count(ratio: float) -> int:
    return math.ceil(ratio * (1 - 1e-9))


def _run(device: Device, case: Case, grid: Grid, dt: float | None) -> Simulation:
    """Advance one level to ``time.until``, from an exact solution's initial values, sides and forcing where there is one."""
    exact = case.convergence.exact
    initial: Any = case.initial
    forcing = None
    if isinstance(exact, Exact):
        exact.require(case.equation, grid)
        u = exact.on(case.equation, grid)
        grid = replace(grid, boundaries=sides_of(grid, u))
        initial, forcing = at(u, 0.0), exact.forcing(case.equation, grid)
    simulation = Simulation(
        device,
        grid,
        case.equation,
        initial,
        dt,
        case.dtype,
        case.time.force,
        case.time.method,
        case.time.cfl,
    )
    if forcing is not None:
        _set_forcing(simulation, forcing)
    simulation.advance(until=case.time.until)
    return simulation


def at(u: Function, moment: float) -> Function:
    """Return a function of space and time as one of space."""
    return lambda *x: u(*x, moment)


def _set_forcing(simulation: Simulation, forcing: Function) -> None:
    if "forcing" not in simulation.fields:
        raise CaseError(
            "this exact solution needs a source term, got an equation without the field forcing; give equation.init_args "
            "forcing: 0"
        )
    values = simulation.equation.evaluate(forcing, simulation.grid, None)
    memory = simulation.fields["forcing"]
    memory.copy_from(np.ascontiguousarray(values, dtype=memory.dtype).reshape(memory.shape))


def _compare(
    case: Case, settings: Convergence, study: Study, grids: list[Grid], values: list[np.ndarray]
) -> None:
    """Give each level its error: against the exact solution, or against the next level at its points."""
    for n, (level, grid) in enumerate(zip(study.levels, grids, strict=True)):
        if isinstance(settings.exact, Exact) and settings.refine == "space":
            u = at(settings.exact.on(case.equation, grid), float(case.time.until or 0))
            truth = case.equation.evaluate(u, grid, None)
        elif n + 1 < len(grids):
            truth = restrict(case.equation, values[n + 1], grids[n + 1], grid)
        else:
            return
        level.error = _norm(values[n] - truth, settings.norm) / _norm(truth, settings.norm)


def _norm(values: np.ndarray, norm: str) -> float:
    return float(np.abs(values).max() if norm == "max" else np.linalg.norm(values))

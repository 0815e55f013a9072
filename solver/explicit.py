"""Explicit time stepping of stencil equations: several steps in one pass over memory."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from solver import blocks
from solver._occa import Kernel, Memory
from solver.device import Device
from solver.equations.equation import Discretization, FieldValues
from solver.errors import ParameterError, ShapeError
from solver.field import Field, copy
from solver.grid import Block, Grid
from solver.halo import Halo
from solver.kernel import shipped
from solver.passes import Pass, agreed_steps, passes
from solver.precision import real_literal, real_type
from solver.recorder import NOTHING, Recording
from solver.sides import require_sides
from solver.steppers import Method

_PARTS = ("march.okl", "march_line.okl", "march_plane.okl", "march_once.okl")
_MACRO = re.compile(r"^ *# *define +(\w+)", re.MULTILINE)

Coefficients = Callable[[float], Mapping[str, Any]]
Watch = Callable[[bool], bool]


class Explicit(Discretization):
    """The kernels of ``march.okl`` around an equation's right-hand side.

    Where the state of a member fits on chip, one launch takes any number of steps. Elsewhere a launch is one pass over memory
    that takes several steps in cache tiles, from one buffer to another; snapshots are passes that end in their row. Where ranks
    share the grid, each pass begins with an exchange of as many points as its steps reach.

    Parameters
    ----------
    source : str
        The equation's shipped kernel file, which defines ``INCREMENT(c)``.
    components : int
    ghost : int
        Points the right-hand side reaches along each axis.
    coefficients : callable
        From Δt to the scalars of the kernel by name, each a number or one per member.
    fields : mapping of str to (int, values)
        Auxiliary fields in the kernel's order: components and initial values.
    defines : mapping, optional
        Further defines of the equation's kernel.

    Attributes
    ----------
    overlaps : bool
        Whether tiles that need no other rank's points are advanced while messages are on their way.

    Raises
    ------
    ParameterError
        The grid has fewer points than the stencil, or sides that the equation cannot have.
    """

    def __init__(
        self,
        device: Device,
        grid: Grid,
        method: Method,
        dtype: str,
        members: int | None,
        source: str,
        components: int,
        ghost: int,
        coefficients: Coefficients,
        fields: Mapping[str, tuple[int, FieldValues]] | None = None,
        defines: Mapping[str, Any] | None = None,
    ):
        require_sides(grid, ghost)
        self._device, self._grid, self._dtype = device, grid, dtype
        self._members, self._count = members, members or 1
        self._components = components
        self._coefficients = coefficients
        self._tables: dict[float, Memory] = {}
        self._dt, self._now = math.nan, device.allocate((0,), dtype)  # of the last launch
        specifications = dict(fields or {})
        self._fields, self.fields = _allocate_fields(device, grid, dtype, members, specifications)
        self._none = device.allocate((0,), dtype)
        names = list(coefficients(1.0))
        common: dict[str, Any] = {
            "dfloat": real_type(dtype),
            "MEMBERS": self._count,
            "COMPONENTS": components,
            "FIELDS": sum(count for count, _ in specifications.values()),
            "COEFFICIENTS": len(names),
            "DECLARE_COEFFICIENTS": " ".join(
                f"const dfloat {name} = coefficients[member * {len(names)} + {n}];"
                for n, name in enumerate(names)
            ),
            "STAGES": method.stages,
            **_combinations(method, dtype),
            "G": ghost,
            "HOST": device.is_host,
            "HAS_FMA": blocks.has_fma(device),
            **{
                name: real_literal(value, dtype)
                for name, value in (("ZERO", 0), ("TWO", 2), ("MINUS_TWO", -2))
            },
            "ONCE": False,
        }
        _require_own_names(defines or {}, common)
        self.overlaps = isinstance(grid, Block) and grid.overlaps
        problem = blocks.Problem(
            device.mode,
            grid,
            ghost,
            self._count,
            components,
            int(common["FIELDS"]),
            method.stages,
            np.dtype(dtype).itemsize,
            self.overlaps,
        )
        self._whole = problem.is_whole_on_chip
        self.is_watchful = device.is_host and not self._whole
        own = dict(defines or {})

        def build(plan: blocks.Plan, more: Mapping[str, Any]) -> Kernel:
            return device.build(
                shipped(source), plan.kernel, common | plan.defines | dict(more) | own
            )

        self._passes = {
            plan.steps: Pass(device, grid, dtype, plan, problem, build)
            for plan in problem.plans(agreed_steps(problem, grid))
        }
        self._limit = max(self._passes)
        self._only = self._passes[self._limit]
        self._single = self._passes[min(self._passes)]
        if self._whole and self._count == 1:
            self._only.kernel.threads = 1  # one block: a team could only wait for it
        leading = () if members is None else (members,)
        shape_of_state = (*leading, components, *grid.points)
        self._spare = device.allocate((0,) if self._whole else shape_of_state, dtype)
        scratch = max(each.plan.scratch for each in self._passes.values())
        self._scratch = device.allocate((scratch,), dtype)

    @property
    def steps_per_pass(self) -> int:
        """The most steps that one pass over memory takes; set it to take fewer."""
        return self._limit

    @steps_per_pass.setter
    def steps_per_pass(self, steps: int) -> None:
        most = max(self._passes)
        if not 1 <= steps <= most:
            raise ParameterError(
                f"steps_per_pass must lie between 1 and {most} here, got {steps}; correct it"
            )
        self._limit = steps

    @property
    def halos(self) -> list[Halo]:
        """The exchanges with other ranks, of the solution and of the auxiliary fields, for each kind of pass."""
        return [halo for each in self._passes.values() for halo in each.halos]

    def prepare(self, u: Field, dt: float, time: float) -> None:
        """Hold the coefficients of ``dt`` and the values of the sides at ``time`` on the device."""
        self._table(dt)
        self._single.sides.update(time)

    def numbers(self) -> dict[str, Any]:
        """Return the time steps whose coefficients are on the device: as many copies from the host follow after a restart."""
        return {"dt": list(self._tables)}

    def restore(self, numbers: Mapping[str, Any]) -> None:
        """Hold the coefficients of these time steps; see `Discretization.restore`."""
        self._dt = math.nan
        self._tables.clear()
        for dt in numbers["dt"]:
            self._table(dt)

    def march(
        self,
        u: Field,
        dt: float,
        steps: int,
        recording: Recording,
        time: float = 0.0,
        watch: Watch | None = None,
    ) -> int:
        """Take steps in place; see `Discretization.march`."""
        for each in self._passes.values():
            each.has_fields = False
        if not self._single.sides.depend_on_time:
            return self._march(u.memory, dt, steps, recording, watch)
        for n, (_, row) in enumerate(passes(steps, recording, 1, True)):
            self._single.sides.update(time + (n + 0.5) * dt)
            if not self._march(u.memory, dt, 1, NOTHING, watch):
                return n
            if row is not None and recording.into is not None:
                copy(self._device, u.memory, recording.into[row])
        return steps

    def _march(
        self, u: Memory, dt: float, steps: int, recording: Recording, watch: Watch | None
    ) -> int:
        if dt != self._dt:
            self._dt, self._now = dt, self._table(dt)
        if self._whole:
            self._launch_line(self._only, steps, recording, u, u)
            return steps
        source, taken = u, 0
        for count, row in passes(steps, recording, self._limit, u.is_exchangeable):
            target = self._spare if source is u else u
            if row is not None and recording.into is not None and self._device.mode != "OpenCL":
                target = recording.into[row]
            used = self._launch(count, source, target)
            if watch is not None and watch(used.has_spoilt()):
                break
            source, taken = target, taken + count
            if row is not None and recording.into is not None and self._device.mode == "OpenCL":
                # A row there may start at an address that kernels cannot take.
                copy(self._device, source, recording.into[row])
        if source is not u and not (source is self._spare and u.exchange(source)):
            copy(self._device, source, u)
        return taken

    def _launch(self, steps: int, source: Memory, target: Memory) -> Pass:
        """Take the steps of a pass with the kernel of the smallest blocks that can."""
        each = self._passes[min(most for most in self._passes if most >= steps)]
        if each.plan.kernel == "march_line":
            self._launch_line(each, steps, NOTHING, source, target)
        elif each.plan.kernel == "march_plane":
            lead = (steps, self._dt, self._now, each.sides.memory, self._fields, source)
            each.launch(source, self._fields, (*lead, self._scratch), (target,))
        else:
            once = (self._dt, self._now, self._fields, source, self._scratch)
            each.launch(source, self._fields, once, (target,))
        return each

    def _launch_line(
        self, each: Pass, steps: int, recording: Recording, source: Memory, target: Memory
    ) -> None:
        due, every, start_row, rows, into = recording
        lead = (steps, due, every, start_row, rows, self._dt, self._now, each.sides.memory)
        tail = (target, self._none if into is None else into)
        each.launch(source, self._fields, (*lead, self._fields, source), tail)

    def _table(self, dt: float) -> Memory:
        """Return the coefficients of a time step, shape (members, coefficients), on the device."""
        if dt not in self._tables:
            columns = self._coefficients(dt).values()
            values = np.stack([np.broadcast_to(column, (self._count,)) for column in columns], 1)
            if len(self._tables) > 1:
                self._tables.pop(next(iter(self._tables)))
            self._tables[dt] = self._device.allocate(values.shape, self._dtype)
            self._tables[dt].copy_from(np.ascontiguousarray(values, dtype=self._dtype))
        return self._tables[dt]


def _require_own_names(defines: Mapping[str, Any], common: Mapping[str, Any]) -> None:
    """Refuse defines of an equation that march.okl or its parts use for something else."""
    parts = "\n".join(shipped(name).read_text() for name in _PARTS)
    clashes = set(defines) & (
        {name.partition("(")[0] for name in common} | set(_MACRO.findall(parts))
    )
    if clashes:
        raise ParameterError(
            f"an equation's defines must have names that march.okl does not use, got {', '.join(sorted(clashes))}; rename them"
        )


def _combinations(method: Method, dtype: str) -> dict[str, str]:
    """Return each stage as OKL text: what is stored at the end of it."""
    texts: dict[str, str] = {}
    for stage, (alpha, beta) in enumerate(zip(method.alpha, method.beta, strict=True), 1):
        terms = [
            f"STAGE_VALUE({n}, c)"
            if weight == 1
            else f"{real_literal(weight, dtype)} * STAGE_VALUE({n}, c)"
            for n, weight in enumerate(alpha)
            if weight
        ]
        increment = "INCREMENT(c)" if beta == 1 else f"{real_literal(beta, dtype)} * (INCREMENT(c))"
        texts[f"COMBINE_{stage}(c)"] = " + ".join([*terms, increment])
    texts["COMBINE_LAST(c)"] = texts[f"COMBINE_{method.stages}(c)"]
    return texts


def _allocate_fields(
    device: Device,
    grid: Grid,
    dtype: str,
    members: int | None,
    specifications: Mapping[str, tuple[int, FieldValues]],
) -> tuple[Memory, dict[str, Memory]]:
    """Return one memory (members, components of all fields, *points), and a view of each field by name."""
    total = sum(count for count, _ in specifications.values())
    memory = device.allocate((members or 1, total, *grid.points), dtype)
    views: dict[str, Memory] = {}
    parts, begin = [], 0
    for name, (count, values) in specifications.items():
        views[name] = (
            memory[:, begin : begin + count] if members else memory[0, begin : begin + count]
        )
        parts.append(evaluate_field(name, values, grid, count))
        begin += count
    if parts:
        one = np.concatenate(parts)[None].astype(dtype)
        memory.copy_from(np.ascontiguousarray(np.broadcast_to(one, memory.shape)))
    return memory, views


def evaluate_field(name: str, values: FieldValues, grid: Grid, count: int) -> np.ndarray:
    """Return the values of an auxiliary field on the host, float64, shape ``(count, *points)``.

    Raises
    ------
    ShapeError
        Values of another shape.
    ParameterError
        Values that are not finite.
    """
    made = np.asarray(values(*grid.coordinates()) if callable(values) else values, dtype=np.float64)
    given = grid if callable(values) else grid.whole
    if made.ndim == 1 and made.shape == (count,) and made.shape != given.points:
        made = made.reshape(count, *(1,) * len(grid.points))
    try:
        full = grid.part(np.broadcast_to(made, (count, *given.points)))
    except ValueError:
        raise ShapeError(
            f"the field {name} must have shape {(count, *given.points)}, got {made.shape}; evaluate it on grid.coordinates()"
        ) from None
    if not np.isfinite(full).all():
        raise ParameterError(f"the field {name} must be finite, it is not; correct it")
    return full


__all__ = ["Explicit", "evaluate_field"]

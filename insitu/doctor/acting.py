"""Checks of a model that acts on the simulation by writing one of its fields."""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from insitu.bridge import as_torch, on_stream, torch_device
from insitu.doctor.coupling import Coupling, seeded_like, state, step_of
from insitu.doctor.finding import Fault, Skip
from solver import Simulation

__all__ = [
    "check_components",
    "check_halo",
    "check_input",
    "check_nan",
    "check_shape",
    "check_stream",
    "check_time_step",
    "check_weights",
    "check_zero_model",
]

_STEPS = 3
_SEAM = 1e-3  # of the largest answer: above the round-off of weights in float32, below what a wrong neighbour does
_SMALL = 1e-2  # of the largest value of the state: what a model is made to answer

Hook = Callable[[Tensor], Tensor]


def check_weights(coupling: Coupling) -> str:
    """Check that other weights give another state."""
    model = _model(coupling)
    parameters = _weights(model)
    if not parameters:
        raise Skip("the model has no weights")
    before = state(coupling.run(_STEPS))
    kept = [p.detach().clone() for p in parameters]
    with torch.no_grad():
        for p in parameters:
            p.add_(seeded_like(p, 0.1 * (float(p.abs().mean()) + 0.1)))
        try:
            after = state(coupling.run(_STEPS))
        finally:
            for p, old in zip(parameters, kept, strict=True):
                p.copy_(old)
    if torch.equal(before, after):
        raise Fault(
            f"after {_STEPS} steps the state has the same bits with other weights: the model's result reaches no kernel; write "
            f"it in place into as_torch(simulation.fields[{coupling.field!r}])"
        )
    return f"the state differs by {_distance(before, after):.1e} after {_STEPS} steps with other weights"


def check_input(coupling: Coupling) -> str:
    """Check that another field gives another input, and a moving field a moving one."""
    model = _model(coupling)
    start = state(coupling.simulate())
    changed = start + seeded_like(start, 1e-3 * _largest(start))
    first, _ = _inputs(coupling, model, start)
    second, states = _inputs(coupling, model, changed)
    if not first or not second:
        raise Fault("the model is never called; evaluate it before each step")
    remedy = "look at the field anew before each step, as_torch(simulation.u)"
    for one, other in zip(first, second, strict=False):
        if torch.equal(one, other):
            raise Fault(f"the model's input has the same bits for another field; {remedy}")
    moves = not torch.equal(states[0], states[1])
    for one, other in itertools.pairwise(second):
        if moves and torch.equal(one, other):
            raise Fault(
                f"the field moves and the model's input stays as it was, a copy of an older state; {remedy}"
            )
    return f"the input follows the field in each of {len(second)} calls"


def check_zero_model(coupling: Coupling) -> str:
    """Check that a model that answers 0 leaves the simulation as it is without one."""
    model, field = _model(coupling), _field(coupling)
    with _answering(model, torch.zeros_like):
        coupled = state(coupling.run(_STEPS))
    alone = coupling.simulate()
    with on_stream(alone.device):
        as_torch(alone.fields[field]).zero_()
        alone.take(step_of(alone), _STEPS)
    if not torch.equal(coupled, state(alone)):
        raise Fault(
            f"with a model that answers 0 the state differs by {_distance(coupled, state(alone)):.1e} from the simulation "
            "without one; the coupling must write nothing but the field"
        )
    return f"{_STEPS} steps with an answer of 0 have the bits of the simulation alone"


def check_time_step(coupling: Coupling) -> str:
    """Check that what a model does in one step is proportional to the step."""
    model = _model(coupling)
    simulation = coupling.simulate()
    size = _SMALL * _largest(state(simulation))
    dt = 0.5 * step_of(simulation)
    effects = []
    for step in (dt, dt / 2):
        states = []
        for answer in (lambda out: seeded_like(out, size), torch.zeros_like):
            with _answering(model, answer):
                states.append(state(coupling.run(1, dt=step)))
        effects.append(float((states[0] - states[1]).abs().mean()))
    if not effects[1]:
        raise Fault("a step is the same with and without the model's answer; it reaches no kernel")
    order = effects[0] / effects[1]
    if not 1.6 < order < 2.5:
        raise Fault(
            f"half the time step must halve what the model does in it, it divides it by {order:.2f}; the field is a rate, in the "
            "unit of the state per time: neither multiply it by the time step nor add it to the state"
        )
    return f"half the time step divides what the model does by {order:.2f}"


def check_components(coupling: Coupling) -> str:
    """Check that each component of the state is a channel of the input, and each channel of the answer one of the field."""
    model, field = _model(coupling), _field(coupling)
    simulation = coupling.simulate()
    count = simulation.u.components
    axis = 0 if simulation.members is None else 1
    if count == 1:
        raise Skip("the state has one component")
    start = state(simulation)
    numbers = torch.arange(1, count + 1).to(start)
    size = _SMALL * _largest(start)
    shape = [-1 if n == axis else 1 for n in range(start.ndim)]
    with on_stream(simulation.device):
        constant = (size * numbers).reshape(shape).expand_as(start).contiguous()
    seen, _ = _inputs(coupling, model, constant, 1)
    if seen and seen[0].shape[1:2] == (count,):
        means = seen[0].transpose(0, 1).flatten(1).mean(1) / size
        if not torch.allclose(means, numbers.to(means), rtol=1e-3):
            raise Fault(
                f"the model must get component c of the state as channel c, it gets {_listed(means)} for 1 to {count}; keep the "
                "order (batch, components, *points)"
            )

    def numbered(out: Tensor) -> Tensor:
        channels = torch.arange(1, out.shape[1] + 1).to(out) * size
        return channels.reshape(1, -1, *(1,) * (out.ndim - 2)).expand_as(out).clone()

    with _answering(model, numbered):
        written = coupling.run(1)
    with on_stream(written.device):
        values = as_torch(written.fields[field]).movedim(axis, 0).flatten(1).mean(1)
    ratios = values / values[0]
    if not torch.allclose(ratios, torch.arange(1, len(ratios) + 1).to(ratios), rtol=1e-3):
        raise Fault(
            f"channel c of the answer must be component c of the field, 1 to {len(ratios)} arrive as {_listed(ratios)}; keep the "
            "order"
        )
    return f"{count} components keep their places on both ways"


def check_halo(coupling: Coupling) -> str:
    """Check that on a periodic axis a shifted state gives a shifted answer: the model sees across the seam."""
    _model(coupling)
    field, simulation = _field(coupling), coupling.simulate()
    start = state(simulation)
    points = simulation.grid.points
    axes = [n for n, periodic in enumerate(simulation.grid.is_periodic) if periodic]
    if not axes:
        raise Skip("no axis is periodic; on several ranks FieldModel has the halos")
    rough = start + seeded_like(start, _SMALL * _largest(start))
    fields = []
    dims = [n - len(points) for n in axes]
    shifts = [points[n] // 3 + 1 for n in axes]
    for values in (rough, rough.roll(shifts, dims)):
        done = coupling.run(1, values)
        with on_stream(done.device):
            fields.append(as_torch(done.fields[field]).clone())
    off = _distance(fields[0].roll(shifts, dims), fields[1]) / max(_largest(fields[0]), 1e-300)
    if off > _SEAM:
        raise Fault(
            f"a shifted state must give a shifted answer on a periodic axis, it is off by {off:.1e} of the largest value; pad "
            "the model's layers as the axis is (padding_mode='circular'), or through FieldModel on ranks; a model that knows "
            "where it is cannot pass"
        )
    return f"the answer moves with the state over the seam of axes {_listed(axes)}"


def check_nan(coupling: Coupling) -> str:
    """Check that a model that answers NaN ends the run with an error."""
    model = _model(coupling)
    with _answering(model, lambda out: torch.full_like(out, float("nan"))):
        try:
            coupling.run(_STEPS).check()
        except Exception as error:
            return f"NaN from the model raises {type(error).__name__}"
    raise Fault(
        "the model answers NaN and nothing is raised; do not replace it by numbers, let simulation.check() find it"
    )


def check_shape(coupling: Coupling) -> str:
    """Check that an answer of another shape is refused, not spread over the field."""
    model = _model(coupling)
    with _answering(model, lambda out: out[..., :1].clone()):
        try:
            coupling.run(1)
        except Exception as error:
            return f"an answer of one point raises {type(error).__name__}"
    raise Fault(
        "an answer of one point along the last axis is spread over the field without a word; compare shapes before copy_, which "
        "broadcasts"
    )


def check_stream(coupling: Coupling) -> str:
    """Check that waiting for the device before each step changes nothing."""
    _model(coupling)
    simulation = coupling.simulate()
    if simulation.device.is_host or coupling.couple is None:
        raise Skip(f"mode {simulation.device.mode} has no streams; run the doctor on a GPU")
    free = state(coupling.run(4 * _STEPS))
    with on_stream(simulation.device):
        advance = coupling.couple(simulation)
        for _ in range(4 * _STEPS):
            torch.cuda.synchronize(torch_device(simulation.device))
            advance(step_of(simulation), 1)
    if not torch.equal(free, state(simulation)):
        raise Fault(
            "the state differs where the host waits for the device before each step: model and solver race; work inside `with "
            "insitu.on_stream(device):`"
        )
    return "waiting for the device before each step changes no bit"


def _weights(model: nn.Module) -> list[Tensor]:
    """Return parameters and buffers, in which models keep what they are fitted to in other ways than by gradients."""
    return [each for each in (*model.parameters(), *model.buffers()) if each.is_floating_point()]


def _model(coupling: Coupling) -> nn.Module:
    if coupling.model is None or coupling.couple is None:
        raise Skip("no model acts on the simulation")
    return coupling.model


def _field(coupling: Coupling) -> str:
    if coupling.field is None:
        raise Skip("the model writes no field of the equation")
    return coupling.field


@contextlib.contextmanager
def _answering(model: nn.Module, answer: Hook) -> Iterator[None]:
    """Put another answer in the place of the model's inside the block."""
    handle = model.register_forward_hook(lambda _, __, out: answer(out))
    try:
        yield
    finally:
        handle.remove()


@contextlib.contextmanager
def _watching(model: nn.Module, watch: Callable[[Tensor], None]) -> Iterator[None]:
    """Show each input of the model to a function inside the block."""
    handle = model.register_forward_pre_hook(
        lambda _, arguments: watch(arguments[0].detach().clone())
    )
    try:
        yield
    finally:
        handle.remove()


def _inputs(
    coupling: Coupling, model: nn.Module, start: Tensor, steps: int = _STEPS
) -> tuple[list[Tensor], tuple[Tensor, Tensor]]:
    """Return what the model gets in a run, and the first and the last state of it."""
    seen: list[Tensor] = []
    with _watching(model, seen.append):
        done: Simulation = coupling.run(steps, start)
    return seen, (start, state(done))


def _largest(tensor: Tensor) -> float:
    return float(tensor.abs().max()) or 1.0


def _distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


def _listed(values: Any) -> str:
    numbers = values.tolist() if isinstance(values, Tensor) else values
    return ", ".join(f"{number:.3g}" for number in numbers)

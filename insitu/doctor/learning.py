"""Checks of what is learnt from a simulation: its snapshots, the pairs made of them, and the forecast."""

import copy
import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from insitu.bridge import as_torch, on_stream
from insitu.config import Learning
from insitu.doctor.coupling import Coupling, record, seeded_like, state
from insitu.doctor.finding import Fault, Skip
from insitu.forecasting import Forecast, evaluate_split
from insitu.models import Forecaster
from insitu.timing import Ledger
from insitu.training import Training
from solver import Simulation

__all__ = [
    "check_component_order",
    "check_divergence",
    "check_forecast_input",
    "check_forecast_weights",
    "check_labels",
    "check_snapshots",
]

_ROWS = 4
_SPAN = 32  # snapshots that a forecasting model is tried on, half of them for training
_EVERY = 4  # steps between them


def check_snapshots(coupling: Coupling) -> str:
    """Check that a snapshot is the state it was taken of, and stays it."""
    simulation = coupling.simulate()
    rows = coupling.record(simulation, _ROWS)
    kept = rows.clone()
    expected = _true_rows(coupling, _ROWS)
    simulation.advance(steps=2)
    if not torch.equal(rows, kept):
        raise Fault(
            "snapshots change as the simulation goes on: they are views of the field's memory; copy each one, as Sampler does"
        )
    moves = not torch.equal(expected[0], expected[-1])
    if moves and all(torch.equal(row, rows[-1]) for row in rows):
        raise Fault(
            f"all {_ROWS} snapshots are the last one: views of one buffer that is used again; copy each one, as Sampler does"
        )
    if not _same(rows, expected) and _permutation(coupling, rows, expected) is None:
        raise Fault(
            f"snapshots must be the states after steps 1 to {_ROWS}, they differ by {_distance(rows, expected):.1e}; take each "
            "after its step, on the solver's stream"
        )
    return f"{_ROWS} snapshots are the states after their steps, and stay so"


def check_component_order(coupling: Coupling) -> str:
    """Check that the components of a snapshot stand where those of the state do."""
    if coupling.simulate().u.components == 1:
        raise Skip("the state has one component")
    rows = coupling.record(coupling.simulate(), _ROWS)
    order = _permutation(coupling, rows, _true_rows(coupling, _ROWS))
    if order is None:
        raise Fault("the components of the snapshots are not those of the state; keep their layout")
    if list(order) != sorted(order):
        raise Fault(
            f"a snapshot must have the components in the order of the state, it has {list(order)}; keep their layout"
        )
    return f"{len(order)} components stand in the order of the state"


def check_labels(coupling: Coupling) -> str:
    """Check that no input of a training pair holds its own target."""
    if coupling.pairs is None:
        raise Skip("no training pairs are made of snapshots here")
    rows = _true_rows(coupling, 2 * _ROWS)
    inputs, targets = coupling.pairs(rows)
    states = inputs.reshape(len(inputs), -1, targets.reshape(len(targets), -1).shape[1])
    for n, (known, target) in enumerate(zip(states, targets.flatten(1), strict=True)):
        if any(torch.equal(each, target) for each in known):
            raise Fault(
                f"the input of training pair {n} holds its target, the state to be predicted; inputs end one step before it"
            )
    if not all(any(torch.equal(target, row) for row in rows) for target in targets.flatten(1)):
        raise Fault(
            "targets of the training pairs must be states of the simulation, some are not; take the next snapshots"
        )
    return f"{len(states)} inputs end before their targets"


def check_forecast_input(coupling: Coupling) -> str:
    """Check that another past changes a forecast, and another future does not."""
    learning = _learning(coupling)
    rows = record(coupling.simulate(), _SPAN * _EVERY, _EVERY)
    train = len(rows) // 2
    size = float(rows.abs().max())
    future, past = rows.clone(), rows.clone()
    future[train:] += seeded_like(future[train:], 0.1 * size)
    past[:train] += seeded_like(past[:train], 1e-3 * size)
    base, other, changed = (
        _forecast(coupling, learning, each, train) for each in (rows, future, past)
    )
    if not torch.equal(base.coefficients, other.coefficients):
        raise Fault(
            "the forecast changes with the states it forecasts: labels of the future are among the model's inputs; fit the basis "
            "and the model on the training span"
        )
    if torch.equal(base.coefficients, changed.coefficients):
        raise Fault(
            "the forecast has the same bits for another past; give the model the states it starts from"
        )
    return f"{type(base.model).__name__} forecasts from the past alone"


def check_forecast_weights(coupling: Coupling) -> str:
    """Check that other weights give another forecast."""
    learning = _learning(coupling)
    rows = record(coupling.simulate(), _SPAN * _EVERY, _EVERY)
    train = len(rows) // 2
    found = _forecast(coupling, learning, rows, train)
    weights = _perturbed(found.model.state_dict())
    if weights is None:
        raise Skip(f"{type(found.model).__name__} has no weights")
    other = copy.deepcopy(found.model)
    other.load_state_dict(weights)
    history = seeded_like(found.coefficients[:1].expand(found.model.history, -1), 1.0)
    one, two = (model.forecast(history, 3) for model in (found.model, other))
    if torch.equal(one, two):
        raise Fault(
            "the forecast has the same bits with other weights; return what the network computes"
        )
    return f"other weights change the forecast of {type(found.model).__name__}"


def check_divergence(coupling: Coupling) -> str:
    """Check that a NaN in the state ends the run with an error."""
    simulation = coupling.simulate()
    with on_stream(simulation.device):
        simulation.advance(steps=1)
        as_torch(simulation.u).view(-1)[0] = float("nan")
    try:
        coupling.record(simulation, 1)
        simulation.check()
    except Exception as error:
        return f"NaN in the state raises {type(error).__name__}"
    raise Fault("a NaN in the state raises nothing; let simulation.check() find it")


def _learning(coupling: Coupling) -> Learning:
    if coupling.learning is None:
        raise Skip("nothing is learnt from the snapshots")
    return coupling.learning


def _true_rows(coupling: Coupling, rows: int) -> Tensor:
    """Return the states after steps 1 to ``rows``, (rows, dof), each copied when the solver has finished it."""
    simulation: Simulation = coupling.simulate()
    states = []
    for _ in range(rows):
        simulation.advance(steps=1)
        simulation.device.finish()
        states.append(state(simulation).flatten())
    return torch.stack(states)


def _permutation(coupling: Coupling, rows: Tensor, expected: Tensor) -> tuple[int, ...] | None:
    """Return which component of the state each component of the snapshots is, None where that is no permutation."""
    u = coupling.simulate().u
    axis = 1 if u.members is None else 2
    if rows.shape != expected.shape:
        return None
    got, wanted = (each.reshape(len(each), *u.shape).movedim(axis, 0) for each in (rows, expected))
    if _same(rows, expected):
        return tuple(range(len(got)))
    for order in itertools.permutations(range(len(got))):
        if _same(got, wanted[list(order)]):
            return order
    return None


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether two series of states are one, but for the round-off of another way to take several steps."""
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-5, atol=1e-12)


def _distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max()) if one.shape == other.shape else float("inf")


def _forecast(coupling: Coupling, learning: Learning, rows: Tensor, train: int) -> Forecast:
    model = _short(learning.model)
    ledger = Ledger(coupling.simulate().device)
    found = evaluate_split("causal", rows, train, learning.reduction, [model], ledger)
    return next(iter(found.forecasts.values()))


def _short(model: Forecaster) -> Forecaster:
    """Return a model of the same settings that trains for two epochs."""
    short: Any = copy.deepcopy(model)
    if isinstance(getattr(short, "training", None), Training):
        short.training = dataclasses.replace(short.training, epochs=2)
    return short


def _perturbed(value: Any) -> Any:
    """Return a state with all its floating-point tensors changed, None where it has none."""
    if isinstance(value, Tensor) and value.is_floating_point():
        return value + seeded_like(value, 0.1 * (float(value.abs().mean()) + 0.1))
    if isinstance(value, Mapping):
        changed = {name: _perturbed(each) for name, each in value.items()}
        if all(each is None for each in changed.values()):
            return None
        return {name: value[name] if each is None else each for name, each in changed.items()}
    return None

"""A coupling of a network and a flow that is right, and couplings each with one fault of those seen in practice."""

import dataclasses

import numpy as np
import torch
from torch import nn

from insitu.bridge import as_torch, on_stream, torch_device
from insitu.config import Learning
from insitu.doctor import Coupling
from insitu.models import LSTM, Persistence
from insitu.reduction import POD
from insitu.training import Training
from solver import Burgers, Grid, Simulation

LEARNING = Learning(
    reduction=POD(rank=2),
    model=LSTM(hidden=8, layers=1, history=2, training=Training(epochs=2, validation=0.0)),
)
GRID = Grid((16, 12), ((0.0, 1.0), (0.0, 1.0)))


def waves(x, y):
    return np.stack([np.sin(2 * np.pi * (x + y)), 0.5 * np.cos(2 * np.pi * (x - 2 * y))])


def network(padding="circular"):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1, padding_mode=padding),
        nn.Tanh(),
        nn.Conv2d(6, 2, 3, padding=1, padding_mode=padding),
    ).double()


def fit(field, answer):
    if field.shape != answer.shape:
        raise ValueError(
            f"the answer must have the field's shape {field.shape}, got {answer.shape}"
        )
    field.copy_(answer)


def right(device, write=None, look=None, model=None, **parts):
    """Return a coupling that writes a network's answer into the forcing before each step.

    ``write(simulation, answer, dt)`` and ``look(simulation)``, which returns what gives the model's input, replace its own.
    """
    model = (model or network()).to(torch_device(device))

    def simulate():
        return Simulation(device, GRID, Burgers(0.02, "central", forcing=0.0), waves, dt=1e-3)

    def write_right(simulation, answer, dt):
        fit(as_torch(simulation.fields["forcing"]), answer)

    def look_right(simulation):
        return lambda: as_torch(simulation.u)

    def couple(simulation):
        see = (look or look_right)(simulation)

        def advance(dt, steps):
            for _ in range(steps):
                with torch.no_grad():
                    (write or write_right)(simulation, model(see()[None])[0], dt)
                simulation.take(dt, 1)

        return advance

    made = Coupling(
        simulate,
        couple,
        model,
        "forcing",
        pairs=lambda rows: (rows[:-1], rows[1:]),
        learning=LEARNING,
    )
    return dataclasses.replace(made, **parts)


def into_a_copy(simulation, answer, dt):
    fit(as_torch(simulation.fields["forcing"]).clone(), answer)


def by_the_step(simulation, answer, dt):
    fit(as_torch(simulation.fields["forcing"]), answer * dt)


def kick(simulation, answer, dt):
    as_torch(simulation.u).add_(answer)


def swapped(simulation, answer, dt):
    fit(as_torch(simulation.fields["forcing"]), answer.flip(0))


def cleaned(simulation, answer, dt):
    fit(as_torch(simulation.fields["forcing"]), torch.nan_to_num(answer))


def spread(simulation, answer, dt):
    as_torch(simulation.fields["forcing"]).copy_(answer)


def through_float32(simulation, answer, dt):
    fit(as_torch(simulation.fields["forcing"]), answer)
    u = as_torch(simulation.u)
    u.copy_(u.float())


def on_another_stream(simulation, answer, dt):
    field = as_torch(simulation.fields["forcing"])
    with torch.cuda.stream(torch.cuda.Stream()):
        torch.cuda._sleep(20_000_000)
        field.copy_(answer)


def first_state(simulation):
    kept = as_torch(simulation.u).clone()
    return lambda: kept


def last_written_state(simulation):
    """Keep a copy that is renewed on every fifth look only."""
    looks, kept = [], []

    def see():
        if len(looks) % 5 == 0:
            kept[:] = [as_torch(simulation.u).clone()]
        looks.append(1)
        return kept[0]

    return see


def swapped_input(simulation):
    return lambda: as_torch(simulation.u).flip(0)


def stale_views(simulation, steps, every=1):
    rows = []
    with on_stream(simulation.device):
        for _ in range(steps):
            simulation.advance(steps=1)
            rows.append(as_torch(simulation.u).view(1, -1))
    return rows[0].expand(steps, -1)


def one_buffer(simulation, steps, every=1):
    buffer = as_torch(simulation.u).clone().view(1, -1)
    for _ in range(steps):
        simulation.advance(steps=1)
        buffer.copy_(as_torch(simulation.u).view(1, -1))
    return buffer.expand(steps, -1)


def one_step_late(simulation, steps, every=1):
    rows = []
    for _ in range(steps):
        rows.append(as_torch(simulation.u).flatten().clone())
        simulation.advance(steps=1)
    return torch.stack(rows)


def other_components(simulation, steps, every=1):
    rows = []
    for _ in range(steps):
        simulation.advance(steps=1)
        rows.append(as_torch(simulation.u).flip(0).flatten().clone())
    return torch.stack(rows)


class PeekingPOD(POD):
    """Coefficients less the mean of the whole series, the span to be forecast included."""

    def transform(self, X):  # noqa: N803
        found = super().transform(X)
        return found - found.mean(0)


class DeafLSTM(LSTM):
    """Trains weights and forecasts without them."""

    def forecast(self, history, steps):
        return history[-1:].expand(steps, -1).clone()


class BlindPersistence(Persistence):
    """Forecasts the same whatever came before."""

    def forecast(self, history, steps):
        return torch.zeros_like(super().forecast(history, steps))


class NoiseOfTheRank:
    """Initial values that hang on who asks."""

    def __call__(self, x):
        from mpi4py import MPI

        return np.sin(x) + 0.01 * MPI.COMM_WORLD.rank


def learning(**parts):
    return {"learning": dataclasses.replace(LEARNING, **parts)}


FAULTS = {  # name: (what is wrong, the check that must find it)
    "the answer goes into a copy of the field": (
        {"write": into_a_copy},
        "weights change the state",
    ),
    "the input is a copy of the first state": (
        {"look": first_state},
        "the field reaches the model",
    ),
    "the input is renewed now and then": (
        {"look": last_written_state},
        "the field reaches the model",
    ),
    "the state goes through float32": ({"write": through_float32}, "a zero model changes nothing"),
    "the answer is multiplied by the step": ({"write": by_the_step}, "the answer is a rate"),
    "the answer is added to the state": ({"write": kick}, "the answer is a rate"),
    "components of the answer are swapped": ({"write": swapped}, "components keep their places"),
    "components of the input are swapped": (
        {"look": swapped_input},
        "components keep their places",
    ),
    "the seam is padded with zeros": ({"model": network("zeros")}, "the model sees over the seam"),
    "NaN is made 0": ({"write": cleaned}, "NaN of the model is an error"),
    "a wrong shape is broadcast": ({"write": spread}, "a wrong shape is an error"),
    "snapshots are views of the field": ({"record": stale_views}, "snapshots stay what they were"),
    "snapshots are views of one buffer": ({"record": one_buffer}, "snapshots stay what they were"),
    "snapshots are a step late": ({"record": one_step_late}, "snapshots stay what they were"),
    "snapshots have the components swapped": (
        {"record": other_components},
        "snapshots keep the components",
    ),
    "next-step labels are the inputs": (
        {"pairs": lambda rows: (rows[1:], rows[1:])},
        "inputs end before their targets",
    ),
    "the mean has seen the future": (
        learning(reduction=PeekingPOD(rank=2)),
        "the forecast knows the past alone",
    ),
    "the forecast sees no past": (
        learning(model=BlindPersistence()),
        "the forecast knows the past alone",
    ),
    "the forecast has no use for its weights": (
        learning(model=DeafLSTM(hidden=8, layers=1, history=2, training=Training(epochs=2))),
        "weights change the forecast",
    ),
}

# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: insitu
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Bring your own model
#
# The same few lines of torch in three places: a forecast of coefficients, a term in the equation, a surrogate that is trained
# while the solver runs. And a doctor who looks whether the coupling does what it says.

# %%
import dataclasses
import functools
import math

import matplotlib.pyplot as plt
import torch
from torch import nn

import insitu
import solver
from insitu.closure import Closure
from insitu.doctor import Coupling, examine, table
from insitu.forecasting import evaluate_split
from insitu.models import DMD, Forecaster, Persistence
from insitu.online import Members, Online
from insitu.online.run import OnlineRun
from insitu.reduction import POD
from insitu.surrogates import Surrogate
from insitu.timing import Ledger

device = solver.Device.open("auto")
grid = solver.Grid(points=(128,), extent=((0.0, 2 * math.pi),))


def burgers(**settings):
    """Burgers' equation with a source term that starts as 0 and that anyone may write."""
    equation = solver.Burgers(nu=0.05, scheme="central", forcing=0.0)
    return solver.Simulation(device, grid, equation, "sin", dt=0.01, **settings)


# %% [markdown]
# ## As a forecaster
#
# A `Forecaster` learns from a series (time, rank) of coefficients and rolls out freely. Yours is a linear map of the last state
# and its square, fitted by least squares:


# %%
class Quadratic(Forecaster):
    """a_{k+1} = A [a_k; a_k ⊗ a_k; 1]."""

    history = 1

    def features(self, states):
        products = (states[:, :, None] * states[:, None]).flatten(1)
        return torch.cat([states, products, torch.ones_like(states[:, :1])], dim=1)

    def fit(self, series, progress=None):
        inputs, targets = self.features(series[:-1]), series[1:]
        self.operator = torch.linalg.pinv(inputs, rtol=1e-8) @ targets

    def forecast(self, history, steps):
        states = [history[-1:]]
        for _ in range(steps):
            states.append(self.features(states[-1]) @ self.operator)
        return torch.cat(states[1:])

    def score(self, series):
        residual = self.features(series[:-1]) @ self.operator - series[1:]
        return 1 - float(residual.var() / series[1:].var())

    def state_dict(self):
        return {"operator": self.operator}

    def load_state_dict(self, state):
        self.operator = state["operator"]


simulation = burgers()
sampler = insitu.Sampler(device, simulation.u.interior.size, window=200)
with insitu.on_stream(device):
    for _ in sampler.follow(simulation, steps=200):
        pass
    models = [Quadratic(), DMD(), Persistence()]
    found = evaluate_split("causal", sampler.snapshots, 120, POD(rank=4), models, Ledger(device))
{name: forecast.field_error for name, forecast in found.forecasts.items()} | {
    "projection, the floor": found.projection_error
}

# %% [markdown]
# In a file `mine.py` on `PYTHONPATH` it is a line of a case: `learning.model: mine.Quadratic`.

# %% [markdown]
# ## As a term of the equation
#
# A `Closure` asks a module for the field `forcing` before each step. The solver's kernels read what it writes, in place. A
# linear drag is a good first one, since its effect is known: without it, or with a sign turned, the picture differs.


# %%
class Drag(nn.Module):
    """f = −r u, at each point."""

    def __init__(self, rate):
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(rate, dtype=torch.float64))

    def forward(self, states):
        return -self.rate * states


drag = Drag(0.5).to(insitu.as_torch(simulation.u).device)
free, dragged = burgers(), burgers()
with insitu.on_stream(device):
    free.advance(until=1.0)
    Closure(dragged, drag).advance(until=1.0)
plt.figure(figsize=(6, 3), layout="constrained")
for name, each in {"free": free, "with drag": dragged}.items():
    plt.plot(grid.axes()[0], each.u.to_host()[0], label=f"{name}, t = {each.time:g}")
legend = plt.legend()

# %% [markdown]
# ## Does the coupling act?
#
# The doctor turns the weights, feeds noise, zeros and NaN, shifts the field, halves the step. What a coupling lacks is skipped.

# %%
coupling = Coupling(
    simulate=burgers,
    couple=lambda simulation: Closure(simulation, drag).take,
    model=drag,
    field="forcing",
)
findings = examine(coupling)
print(table(findings))
assert not any(finding.status == "FAIL" for finding in findings)

# %% [markdown]
# Now a coupling by hand, with two slips that are easily made. The answer is multiplied by Δt before it is written, and the
# kernel multiplies it once more; and `copy_` would spread an answer of a wrong shape over the field.


# %%
def slipped(simulation):
    """Return what advances with a field that is not a rate."""

    def advance(dt, steps):
        field = insitu.as_torch(simulation.fields["forcing"])
        for _ in range(steps):
            with torch.no_grad():
                field.copy_(dt * drag(insitu.as_torch(simulation.u)[None])[0])
            simulation.take(dt, 1)

    return advance


slip = [f for f in examine(dataclasses.replace(coupling, couple=slipped)) if f.status == "FAIL"]
print(table(slip))
assert {f.check for f in slip} == {"the answer is a rate", "a wrong shape is an error"}

# %% [markdown]
# The same for a case, from the command line: `insitu doctor jobs/burgers.yaml`.

# %% [markdown]
# ## As a surrogate that learns while the solver runs
#
# Four viscosities at once. `Online` takes pairs of snapshots from the ring as they come; one of the members is never trained
# on. A `Surrogate` wraps your network with the statistics of its training pairs and the interval it stands for.

# %%
core = nn.Sequential(
    nn.Conv1d(2, 16, 5, padding=2, padding_mode="circular"),
    nn.GELU(),
    nn.Conv1d(16, 1, 5, padding=2, padding_mode="circular"),
)
settings = Online(
    model=Surrogate(core, components=1, parameters=1),
    optimizer=functools.partial(torch.optim.Adam, lr=3e-3),
    parameters=["nu"],
    validation=Members(fraction=0.25),
    warm_up=10,
    steps=4,
    precision="float32",
)
viscosities = solver.Burgers(nu=[0.05, 0.1, 0.15, 0.2], scheme="central")
ensemble = solver.Simulation(device, grid, viscosities, "sin", dt=0.005)
ring = insitu.Sampler(device, ensemble.u.interior.size, window=100, every=2)
with insitu.on_stream(device):
    online = OnlineRun(settings, ensemble, ring)
    for _ in online.beside(ring.follow(ensemble, steps=200, most=online.steps_at_once)):
        pass
summary = online.summary()
last = summary["validation"][-1]
print(f"{summary['steps']} steps of training beside {ensemble.step} of the solver")
print(f"the member never seen: loss {last['loss']:.3g}, persistence {last['persistence']:.3g}")

# %% [markdown]
# In a case all of this is the section `online`, and your network a `class_path` in it: [docs/models.md](../docs/models.md).
#
# **On a GPU node** your module goes where the field is, `module.to(insitu.as_torch(simulation.u).device)`; a case does that for
# you. With `mode: overlapped` training leaves the solver's stream and works beside it. On several ranks a closure or a
# surrogate must be local, as convolutions are: [multi_rank.py](multi_rank.py). Kernel and modules:
# [docs/notebooks.md](../docs/notebooks.md).

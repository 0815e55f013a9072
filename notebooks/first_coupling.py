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
# # First coupling in ten minutes
#
# A solver carries a bump around a periodic channel, u_t + a u_x = D u_xx, while it spreads. Torch looks at its memory without a
# copy, snapshots stay where they are made, and three models that saw two rounds forecast the third.

# %%
import matplotlib.pyplot as plt

import insitu
import solver
from insitu.metrics import relative_l2
from insitu.models import DMD, LSTM, Persistence
from insitu.reduction import POD
from insitu.training import Training

# %% [markdown]
# ## The solver owns the memory

# %%
device = solver.Device.open("auto")
grid = solver.Grid(points=(256,), extent=((0.0, 1.0),))
equation = solver.AdvectionDiffusion(diffusivity=0.001, velocity=[1.0])
simulation = solver.Simulation(device, grid, equation, initial="gaussian", dt=0.001)
device, simulation.u.shape

# %% [markdown]
# ## Everyone else looks at it
#
# A view is taken once and shows whatever the last finished step left there.

# %%
u = insitu.as_torch(simulation.u)
array = insitu.as_numpy(simulation.u) if device.is_host else insitu.as_cupy(simulation.u)

simulation.advance(steps=1)
address = array.ctypes.data if device.is_host else array.data.ptr
assert u.data_ptr() == address
u.device, float(u.abs().max()), float(abs(array).max())

# %% [markdown]
# ## Snapshots: the one copy, device to device
#
# Inside `no_host_transfer` anything that carries the field through the host would raise. The table is the ledger of the block.

# %%
sampler = insitu.Sampler(device, dof=simulation.u.interior.size, window=300, every=10)
with insitu.on_stream(device), insitu.no_host_transfer() as audit:
    for _ in sampler.follow(simulation, until=3.0):
        pass
    snapshots = sampler.snapshots
print(f"{simulation.moment}, {tuple(snapshots.shape)} on {snapshots.device}")
print(audit.table())

# %% [markdown]
# ## A basis, three models, and a forecast that never sees the truth
#
# Basis and models know the first two rounds only. From there on each model lives on its own output.

# %%
seen = 2 * len(snapshots) // 3
training = Training(epochs=80, learning_rate=0.02, final_rate=0.01, validation=0.0)
models = [LSTM(hidden=64, layers=1, history=3, training=training), DMD(), Persistence()]
with insitu.on_stream(device):
    basis = POD(rank=8).fit(snapshots[:seen])
    known, truth = basis.transform(snapshots[:seen]), snapshots[seen:]
    forecasts = {}
    for model in models:
        model.fit(known)
        rollout = model.forecast(known[-model.history :], steps=len(truth))
        forecasts[type(model).__name__] = basis.inverse_transform(rollout)
    floor = basis.inverse_transform(basis.transform(truth))
    errors = {name: float(relative_l2(field, truth)) for name, field in forecasts.items()}
    errors["projection, the floor"] = float(relative_l2(floor, truth))
errors

# %%
x, times = grid.axes()[0], [moment.time for moment in sampler.moments]
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained")
picture = left.pcolormesh(x, times, snapshots.cpu(), cmap="magma", rasterized=True)
left.axhline(times[seen], color="white", linewidth=1)
left.set(xlabel="x", ylabel="t", title="u; models know what is below the line")
figure.colorbar(picture, ax=left)
ahead = len(truth) // 2
right.plot(x, truth[ahead].cpu(), color="black", label="solver")
for name, field in forecasts.items():
    right.plot(x, field[ahead].cpu(), "--", label=f"{name}, {errors[name]:.2f}")
right.set(xlabel="x", title=f"t = {times[seen + ahead]:g}, {ahead + 1} snapshots ahead")
legend = figure.legend(title="error over the span", loc="outside right upper")

# %% [markdown]
# The equation is linear, so a linear model of enough modes has an easy task here, and a network none of its strengths. What
# never changes is the comparison: with persistence below, with the projection above, both in a rollout that sees no truth.
# Burgers' equation is the harder case: `insitu run jobs/burgers.yaml`.
#
# **On a GPU node** nothing changes but the device: `auto` takes this kernel's GPU, `snapshots` is a CUDA tensor, and the ledger
# has lines of its own for what crosses. `on_stream` lets torch work on the solver's stream; outside of it export a view anew
# before each use. The kernel needs the modules of `set_env.sh`: [docs/notebooks.md](../docs/notebooks.md).

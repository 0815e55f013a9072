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
# # Several ranks in one notebook
#
# ipyparallel starts MPI ranks as engines. Each has its block of the grid; what is small comes back to the notebook.

# %%
import logging

import ipyparallel
import matplotlib.pyplot as plt
import numpy as np
from mpi4py import MPI

import insitu
import solver

ranks = 2
cluster = ipyparallel.Cluster(engines="mpi", n=ranks, log_level=logging.ERROR)
client = cluster.start_and_connect_sync()
everyone = client[:]
done = everyone.execute("from mpi4py import MPI; import insitu, solver").get()

# %% [markdown]
# ## Each rank makes its part
#
# A function sent to the engines runs on all of them at once, so it may call what is collective. Names it declares `global` live
# on in the engines.

# %%
POINTS, EXTENT = (128, 96), ((0.0, 2.0), (0.0, 1.0))


def build(points, extent):
    """Make this rank's part of one simulation; return its rank, its device and its block."""
    global device, simulation, sampler
    comm = MPI.COMM_WORLD
    device = solver.Device.open("auto", comm)
    grid = solver.Grid(points=points, extent=extent)
    equation = solver.AdvectionDiffusion(diffusivity=0.002, velocity=(0.5, 0.25))
    simulation = solver.Simulation(device, grid, equation, "gaussian", dt=0.005, comm=comm)
    sampler = insitu.Sampler(device, simulation.u.interior.size, window=100, every=4)
    return comm.rank, device.mode, simulation.grid.begin, simulation.grid.points


everyone.apply_sync(build, POINTS, EXTENT)

# %% [markdown]
# ## Snapshots stay on their ranks, and so does the basis
#
# The decomposition sums matrices of the size of the window. Singular values, coefficients and errors come out with the same
# bits on every rank; modes are blocks, as the field is.


# %%
def learn(until, rank):
    """Advance, sample, decompose; return what every rank knows."""
    with insitu.on_stream(device), insitu.no_host_transfer() as audit:
        for _ in sampler.follow(simulation, until=until):
            pass
        snapshots = sampler.snapshots
        basis = insitu.reduction.POD(rank=rank).fit(snapshots, comm=simulation.comm)
        coefficients = basis.transform(snapshots)
        error = basis.field_error(coefficients, snapshots)
    sums = sum(line.bytes for line in audit.lines)
    return basis.singular_values_.tolist(), coefficients.tolist(), float(error), sums


values, coefficients, errors, moved = zip(*everyone.apply_sync(learn, 2.0, 12), strict=True)
assert len(set(errors)) == 1 and values[0] == values[1] and coefficients[0] == coefficients[1]
print(f"error of twelve modes {errors[0]:.2e} on every rank; bytes in the ledger of each: {moved}")

# %% [markdown]
# ## A picture, without gathering a field on a rank
#
# Each engine sends the pixels of its block to the notebook.


# %%
def pixels(stride):
    """Return every so many-th point of this block, and where it begins on the grid."""
    view = insitu.as_torch(simulation.u)[0, ::stride, ::stride]
    return simulation.grid.begin, view.cpu().numpy()


stride = 2
picture = np.full([n // stride for n in POINTS], np.nan)
for (i, j), part in everyone.apply_sync(pixels, stride):
    i, j = i // stride, j // stride
    picture[i : i + part.shape[0], j : j + part.shape[1]] = part
assert np.isfinite(picture).all()

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3), layout="constrained")
image = left.imshow(picture.T, origin="lower", extent=np.ravel(EXTENT), cmap="magma")
left.set(title=f"u at t = 2, from {ranks} ranks", xlabel="x", ylabel="y")
figure.colorbar(image, ax=left)
right.set(title="singular values", xlabel="mode")
lines = right.semilogy(values[0][:20], "o-")

# %%
client.close()
cluster.stop_cluster_sync()

# %% [markdown]
# **On a GPU node** start as many engines as the node has GPUs: `Device.open("auto", comm)` gives each rank its own. Engines
# inherit the modules of this kernel; on several nodes start them through the scheduler, `ipyparallel.Cluster(engines="slurm")`
# or `"pbs"`, with the site's launcher. What a browser is not needed for, `insitu run` under mpirun does the same:
# [docs/ranks.md](../docs/ranks.md). Kernel and modules: [docs/notebooks.md](../docs/notebooks.md).

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
# # A live look at a running field
#
# Two shear layers roll up. Vorticity, its range and its colours are computed where the velocity lives; what comes to the host
# is the picture, four bytes a pixel, and the ledger says so.

# %%
import asyncio
import io

import ipywidgets as widgets
import matplotlib
import numpy as np
import torch
from IPython.display import display
from PIL import Image

import insitu
import solver
from insitu.flows import DoubleShearLayer

device = solver.Device.open("auto")
grid = solver.Grid(points=(128, 128), extent=((0.0, 1.0), (0.0, 1.0)))
simulation = solver.Simulation(
    device, grid, solver.NavierStokes(nu=0.0005), DoubleShearLayer(), cfl=0.8
)

# %% [markdown]
# ## From velocity to colours, on the device
#
# `pixels` is device memory of 32-bit numbers, one a pixel, red, green, blue and opacity in its bytes. Torch writes it in place.

# %%
pixels = device.allocate(grid.points[::-1], "int32")
colours = (matplotlib.colormaps["RdBu_r"](np.arange(256)) * 255).astype(np.uint8)
palette = torch.from_numpy(colours.view(np.int32)[:, 0]).to(insitu.as_torch(pixels).device)


def paint():
    """Write the colours of the present vorticity, v_x − u_y, into `pixels`."""
    u, v = insitu.as_torch(simulation.u)
    (dx, dy), flat = grid.spacing, insitu.as_torch(pixels)
    vorticity = (v - v.roll(1, 0)) / dx - (u - u.roll(1, 1)) / dy
    level = 127.5 * (1 + vorticity / vorticity.abs().max())
    flat.copy_(palette[level.long()].T.flip(0))


def fetch():
    """Bring the picture to the host, and nothing else, as PNG."""
    rows = pixels.to_host()
    file = io.BytesIO()
    Image.fromarray(rows.view(np.uint8).reshape(*rows.shape, 4)).save(file, "png")
    return file.getvalue()


# %% [markdown]
# ## The picture, a button, and how far to go between two frames

# %%
picture = widgets.Image(format="png", width=480)
is_running = widgets.ToggleButton(description="run")
steps = widgets.IntSlider(value=5, min=1, max=50, description="steps")
clock = widgets.Label()
display(widgets.VBox([picture, widgets.HBox([is_running, steps, clock])]))


def show_frame():
    """Advance, paint, fetch."""
    with insitu.on_stream(device):
        simulation.advance(steps=steps.value)
        paint()
    picture.value = fetch()
    clock.value = f"t = {simulation.time:.3f}, step {simulation.step}"


async def play():
    """Show frames as long as the button is down."""
    while is_running.value:
        show_frame()
        await asyncio.sleep(0.01)


is_running.observe(lambda change: change.new and asyncio.ensure_future(play()), "value")

# %% [markdown]
# ## The proof
#
# Ten frames, with or without somebody who looks. Nothing larger than the picture may pass: the field is twice as large for each
# of its components. Lines marked *control* are the solver's own: the sums by which it solves for the pressure, its look for
# values that are not finite.

# %%
frames = 10
with insitu.no_host_transfer(allowed=pixels.nbytes) as audit:
    for _ in range(frames):
        show_frame()
print(audit.table())
assert audit.field_bytes == frames * pixels.nbytes
print(f"{audit.field_bytes} bytes of fields: {frames} pictures of {pixels.nbytes}")

# %%
with insitu.no_host_transfer(allowed=pixels.nbytes):
    try:
        simulation.u.to_host()
    except insitu.audit.HostTransferError as error:
        print(error)

# %% [markdown]
# **On a GPU node** the same lines hold: torch's tensors are on the GPU, `pixels.to_host()` is the only copy that crosses. Press
# *run* and watch `nvidia-smi`: the field stays. Over a slow line to JupyterHub take fewer frames, or a coarser `pixels`, with
# `vorticity[::2, ::2]`. Kernel and modules: [docs/notebooks.md](../docs/notebooks.md).

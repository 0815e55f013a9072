"""Surrogates of linear equations that are right by construction: convolutions with the solver's own answer to an impulse."""

import numpy as np
import torch
from torch import nn

from insitu.surrogates import Surrogate
from solver import AdvectionDiffusion, Device, Grid, Simulation

POINTS, DT, LEAD = 96, 1e-3, 16
DIFFUSIVITY, VELOCITY = 0.02, 0.5
LINE = Grid((POINTS,), ((0.0, 1.0),))


def start(device=None, initial=None, grid=LINE, **options):
    """Return a simulation of three waves in a stream."""
    device = device or Device.open("Serial")
    equation = AdvectionDiffusion(DIFFUSIVITY, (VELOCITY,))
    return Simulation(device, grid, equation, initial or waves(0), dt=DT, **options)


def waves(seed):
    sizes = 0.3 * np.random.default_rng(seed).standard_normal((3, 2))

    def initial(x):
        angles = [2 * np.pi * k * x for k in (1, 2, 3)]
        return 1 + sum(
            a * np.cos(t) + b * np.sin(t) for t, (a, b) in zip(angles, sizes, strict=True)
        )

    return initial


def propagator(factor=1.0, reach=POINTS // 2 - 1):
    """Return a surrogate of `start`: right with factor 1, else every change is that much larger."""
    impulse = np.zeros((1, POINTS))
    impulse[0, POINTS // 2] = 1.0
    simulation = Simulation(
        Device.open("Serial"), LINE, AdvectionDiffusion(DIFFUSIVITY, (VELOCITY,)), impulse, dt=DT
    )
    simulation.advance(steps=LEAD)
    answer = simulation.u.to_host()[0] - impulse[0]
    convolution = nn.Conv1d(
        1, 1, 2 * reach + 1, padding=reach, padding_mode="circular", bias=False
    ).double()
    with torch.no_grad():
        convolution.weight[0, 0] = factor * torch.tensor(
            answer[POINTS // 2 - reach : POINTS // 2 + reach + 1][::-1].copy()
        )
    return Surrogate(convolution, 1, interval=LEAD * DT)

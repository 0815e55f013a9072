"""Where an equation conserves the sum of u and nothing passes the sides, the solver does, to round-off."""

import numpy as np
import pytest

from solver import (
    AdvectionDiffusion,
    Burgers,
    Device,
    Grid,
    KuramotoSivashinsky,
    Neumann,
    Periodic,
    Simulation,
)

POINTS = {1: (64,), 2: (18, 18), 3: (10, 10, 10)}
CLOSED, CIRCLE = (Neumann(0.0), Neumann(0.0)), (Periodic(), Periodic())
SIDES = {"periodic": (CIRCLE,) * 3, "closed": (CLOSED,) * 3, "one axis closed": (CLOSED, CIRCLE)}


def drift(grid, equation, method=None, steps=400):
    """Return how much the sum has changed, relative to the sum of |u|, and how much the solution."""
    start = np.random.default_rng(7).standard_normal(grid.points) + 0.3
    simulation = Simulation(Device.open("Serial"), grid, equation, start, method=method)
    simulation.advance(steps=steps)
    u = simulation.u.to_host()[0]
    return abs(u.sum() - start.sum()) / np.abs(start).sum(), np.abs(u - start).max()


@pytest.mark.parametrize(
    ("axes", "sides"),
    [
        *((axes, sides) for axes in POINTS for sides in ("periodic", "closed")),
        (2, "one axis closed"),
    ],
)
def test_advection_diffusion_with_fields(axes, sides):
    grid = Grid(POINTS[axes], ((0.0, 1.0),) * axes, SIDES[sides][:axes])
    random = np.random.default_rng(8)
    velocity = random.uniform(-1, 1, (axes, *grid.points))
    for axis in range(axes):
        if not grid.is_periodic[axis]:  # linear through 0 at the sides: nothing flows through them
            x = grid.axes()[axis]
            ends = np.minimum(np.minimum(x, 1 - x), 3 * grid.spacing[axis])
            shape = [1] * axes
            shape[axis] = len(x)
            velocity[axis] = ends.reshape(shape)
    equation = AdvectionDiffusion(
        diffusivity_field=random.uniform(0.01, 0.03, grid.points), velocity_field=velocity
    )
    lost, changed = drift(grid, equation, "ssp-rk2")
    assert lost < 1e-13 and changed > 0.1


@pytest.mark.parametrize(
    "equation",
    [
        AdvectionDiffusion(0.02, (0.8,)),
        Burgers(0.01, "conservative"),
        KuramotoSivashinsky(1e-3),
    ],
    ids=lambda equation: type(equation).__name__,
)
def test_numbers_and_flux_forms(equation):
    lost, changed = drift(Grid((64,), ((0.0, 1.0),)), equation)
    assert lost < 1e-13 and changed > 0.1


def test_the_check_can_fail():
    """A wind blows through closed sides."""
    grid = Grid((64,), ((0.0, 1.0),), (CLOSED,))
    lost, _ = drift(grid, AdvectionDiffusion(0.02, (0.8,)))
    assert lost > 1e-3

"""What a simulation is given is checked where it enters: one sentence with what was expected, what was got, and the remedy."""

import numpy as np
import pytest

from solver import (
    AdvectionDiffusion,
    Burgers,
    Dirichlet,
    DivergenceError,
    Grid,
    KuramotoSivashinsky,
    Neumann,
    ParameterError,
    Periodic,
    ShapeError,
    Simulation,
    Wall,
)

LINE = Grid((64,), ((0.0, 1.0),))
PLANE = Grid((8, 9), ((0.0, 1.0), (0.0, 2.0)))
CIRCLE = (Periodic(), Periodic())
CLOSED = Grid((64,), ((0.0, 1.0),), ((Dirichlet(0.0), Neumann(0.0)),))


def sided(low, high=None, points=(64,)):
    pairs = ((low, high or Neumann()),) + (CIRCLE,) * (len(points) - 1)
    return Grid(points, ((0.0, 1.0),) * len(points), pairs)


def simulate(grid, equation, **options):
    return lambda device: Simulation(device, grid, equation, **{"initial": "gaussian"} | options)


CASES = {
    "time step above the limit": (
        simulate(LINE, Burgers(0.01), dt=1.0),
        r"dt must be at most the stability limit 0\.0\d+, got 1; reduce it, leave it out, or force it",
    ),
    "time step of 0": (simulate(LINE, Burgers(0.01), dt=0.0), "dt must be a positive number, got"),
    "both dt and cfl": (simulate(LINE, Burgers(0.01), dt=1e-4, cfl=0.5), "given instead of dt"),
    "cfl above 1": (simulate(LINE, Burgers(0.01), cfl=1.5), "at most 1, .* got cfl 1.5"),
    "unknown method": (
        simulate(LINE, Burgers(0.01), method="leapfrog"),
        "one of euler, ssp-rk2, ssp-rk3, rk4, got 'leapfrog'; choose one",
    ),
    "advection without diffusion by Euler": (
        simulate(LINE, AdvectionDiffusion(0.0, (1.0,)), method="euler"),
        "stable on the imaginary axis, got euler; choose ssp-rk3 or rk4",
    ),
    "grid too small, reach 1": (
        simulate(Grid((2, 9), ((0.0, 1.0),) * 2), Burgers(0.1)),
        r"at least 3 along each axis for this stencil, got \(2, 9\); refine",
    ),
    "grid too small, reach 2": (
        simulate(Grid((4,), ((0.0, 1.0),)), Burgers(0.1)),
        "at least 5 along each axis",
    ),
    "grid too small, reach 3": (
        simulate(Grid((6,), ((0.0, 1.0),)), KuramotoSivashinsky()),
        "at least 7 along each axis",
    ),
    "grid too coarse for any decay": (
        simulate(Grid((8,), ((0.0, 22.0),)), KuramotoSivashinsky()),
        r"below sqrt\(5 nu\) = 2.23607, or no wave on the grid decays, got 2.75; refine",
    ),
    "one side periodic": (
        lambda _: sided(Periodic(), Dirichlet(0.0)),
        "both sides of an axis must be periodic or neither, got .* on axis 0; they contradict each other, change one",
    ),
    "sides of too few axes": (
        lambda _: Grid((8, 8), ((0.0, 1.0),) * 2, (CIRCLE,)),
        "one .low, high. pair of boundaries for each of 2 axes",
    ),
    "a wall that moves through itself": (
        lambda _: sided(Wall((1.0, 0.0)), points=(8, 8)),
        "0 along its normal",
    ),
    "a value that is no number": (
        lambda _: Dirichlet(float("nan")),
        "Dirichlet value must be a finite number",
    ),
    "a wide scheme between sides": (
        simulate(CLOSED, Burgers(0.1, "conservative")),
        "scheme conservative takes one periodic axis, got 1 axes with sides .*; choose scheme central",
    ),
    "a wide equation between sides": (
        simulate(CLOSED, KuramotoSivashinsky()),
        "reaches 3 points and needs periodic axes, got sides",
    ),
    "the mini-app in two dimensions": (
        simulate(PLANE, Burgers(0.1, "miniapp")),
        "takes one periodic axis, got 2 axes",
    ),
    "a side's function of the wrong shape": (
        simulate(
            sided(Dirichlet(lambda x, y, t: np.zeros(5)), points=(8, 9)), AdvectionDiffusion(0.1)
        ),
        r"the side 0 of axis 0 must have one value, 1 .one per component. or an array of shape \(1, 9\), got shape \(5,\)",
    ),
    "a side's function that is not finite": (
        simulate(sided(Dirichlet(lambda x, t: np.inf)), AdvectionDiffusion(0.1)),
        "the values on side 0 of axis 0 must be finite at time 0, they are not",
    ),
    "a side with too many components": (
        simulate(sided(Dirichlet((1.0, 2.0))), AdvectionDiffusion(0.1)),
        "must have one value, 1 .one per component.",
    ),
    "velocity for too few axes": (
        simulate(PLANE, AdvectionDiffusion(0.1, (1.0,))),
        "one number for each of the 2 axes, got 1; match them",
    ),
    "a field of the wrong shape": (
        simulate(PLANE, AdvectionDiffusion(0.1, forcing=np.zeros(7))),
        r"the field forcing must have shape \(1, 8, 9\), got \(7,\)",
    ),
    "a field that is not finite": (
        simulate(PLANE, AdvectionDiffusion(velocity_field=np.nan)),
        "the field velocity must be finite",
    ),
    "a negative diffusivity": (
        simulate(PLANE, AdvectionDiffusion(diffusivity_field=lambda x, y: x - 0.5)),
        "the field diffusivity must be 0 or more, got -0.5; correct it",
    ),
    "parameters of different lengths": (
        lambda _: AdvectionDiffusion((0.1, 0.2), ((1.0, 2.0, 3.0),)),
        "one number for each member, got diffusivity 2, velocity 0 3; give them one length",
    ),
    "parameters for another ensemble": (
        simulate(LINE, Burgers((0.1, 0.2)), members=3),
        "one number for each of 3 members, got 2; match them",
    ),
    "initial values of another shape": (
        simulate(PLANE, Burgers(0.1), initial=np.zeros((1, 8, 9))),
        r"initial values must have shape \(2, 8, 9\), got \(1, 8, 9\)",
    ),
    "initial values that are not finite": (
        simulate(LINE, Burgers(0.1), initial=lambda x: np.where(x > 0.4, np.inf, x)),
        "initial values must be finite, 38 are not",
    ),
    "an unknown scheme": (lambda _: Burgers(0.1, "upwind"), "scheme must be one of"),
    "a type without kernels": (
        simulate(LINE, Burgers(0.1), dtype="float16"),
        "dtype must be float64 or float32, got 'float16'",
    ),
    "a time in the past": (
        lambda device: simulate(LINE, Burgers(0.1))(device).advance(until=-1.0),
        "until must be a time from 0 on, got -1.0; time runs forward",
    ),
    "half a step": (
        lambda device: simulate(LINE, Burgers(0.1))(device).advance(steps=0.5),
        "steps must be an integer of 0 or more, got 0.5",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_one_sentence(name):
    from solver import Device

    act, sentence = CASES[name]
    with pytest.raises((ParameterError, ShapeError), match=sentence) as caught:
        act(Device.open("Serial"))
    text = str(caught.value)
    assert "\n" not in text and ("got" in text or "not" in text) and ";" in text


@pytest.mark.parametrize(
    ("grid", "equation"),
    [
        (LINE, KuramotoSivashinsky(1e-3)),
        (PLANE, Burgers(0.1)),
        (Grid((5, 6, 7), ((0.0, 1.0),) * 3), AdvectionDiffusion(0.1)),
    ],
    ids=["1-D", "2-D", "3-D"],
)
def test_divergence_names_step_time_place_and_remedy(host_device, grid, equation):
    random = np.random.default_rng(0)
    start = random.standard_normal((equation.components(grid), *grid.points))
    simulation = Simulation(host_device, grid, equation, start)
    simulation = Simulation(
        host_device, grid, equation, start, dt=20 * simulation.limit, force=True
    )
    with pytest.raises(DivergenceError, match="reduce dt .stability limit .* or refine") as caught:
        simulation.advance(steps=5000)
    error = caught.value
    assert error.step == simulation.step + 1
    assert error.time == pytest.approx(error.step * simulation.dt)
    assert len(error.location) == len(grid.points)
    assert all(x in axis for x, axis in zip(error.location, grid.axes(), strict=True))
    assert np.isfinite(simulation.u.to_host()).all()

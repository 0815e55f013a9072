"""A process that is forked after steps takes its own, and the one it came from goes on."""

import pytest
from helpers.processes import output_of

PROGRAM = """
import os, signal, sys, warnings
import numpy as np, solver

device = solver.Device.open(sys.argv[1])
grid = solver.Grid(points=(300, 200), extent=((0.0, 3.0), (0.0, 2.0)))
equation = solver.AdvectionDiffusion(diffusivity=0.01, velocity=(1.0, 0.5))

def simulation():
    return solver.Simulation(device, grid, equation, initial=lambda x, y: np.sin(2 * np.pi * x) + 0 * y)

first = simulation()
first.advance(steps=20)
warnings.simplefilter("ignore", DeprecationWarning)  # of Pythons that count threads
child = os.fork()
if child == 0:
    signal.alarm(30)
    second = simulation()
    second.advance(steps=20)
    is_alike = np.array_equal(first.u.to_host(), second.u.to_host())
    first.advance(steps=20)
    os._exit(0 if is_alike else 1)
status = os.waitpid(child, 0)[1]
first.advance(steps=20)
print(status, first.step)
"""


@pytest.mark.parametrize("mode", ["Serial", "OpenMP"])
def test_parent_and_child_go_on(mode, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert output_of(PROGRAM, mode).split() == ["0", "40"]

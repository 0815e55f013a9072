"""The new equation of CONTRIBUTING.md is complete: its kernel, its class and its test run as they stand there."""

import gc
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import solver
from solver import kernel
from solver.equations.equation import Equation

TEXT = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text()


def block(path, language):
    """Return the code that follows the paragraph that begins with a file's name."""
    match = re.search(
        rf"^`{re.escape(path)}`.*?```{language}\n(.*?)```", TEXT, re.DOTALL | re.MULTILINE
    )
    assert match, f"CONTRIBUTING.md must give the code of {path}"
    return match[1]


@pytest.fixture
def cleared():
    """Afterwards nobody who asks which equations there are is told of one whose module is gone."""
    yield
    gc.collect()
    assert "Fisher" not in [each.__name__ for each in Equation.__subclasses__()]


@pytest.fixture
def fisher(cleared, tmp_path, monkeypatch):
    """The equation, installed as the text says: `solver.Fisher`."""
    (tmp_path / "fisher.okl").write_text(block("kernels/fisher.okl", "c"))
    monkeypatch.setattr(kernel, "_SHIPPED", (*kernel._SHIPPED, tmp_path))
    module = types.ModuleType("solver.equations.fisher")
    exec(block("solver/equations/fisher.py", "python"), module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(solver, "Fisher", module.Fisher, raising=False)


def test_its_test_passes(fisher):
    names: dict[str, object] = {}
    exec(block("tests/verification/test_fisher_fronts_travel.py", "python"), names)
    names["test_observed_order"]()


def test_its_test_can_fail(fisher, monkeypatch):
    names: dict[str, object] = {}
    exec(block("tests/verification/test_fisher_fronts_travel.py", "python"), names)
    names["front"].__globals__["front"] = lambda x, t: (1 + np.exp((x - 2.0 * t) / 6**0.5)) ** -2.0
    with pytest.raises(AssertionError):
        names["test_observed_order"]()


def test_it_has_what_every_equation_has(fisher):
    """Two dimensions, an ensemble, float32, a recorder."""
    grid = solver.Grid((12, 16), ((0.0, 5.0),) * 2)
    simulation = solver.Simulation(
        solver.Device.open("OpenMP"),
        grid,
        solver.Fisher(0.1, (1.0, 2.0)),
        "gaussian",
        dtype="float32",
    )
    recorder = solver.Recorder(2, simulation.device.allocate((2, 2 * grid.size), "float32"))
    before = simulation.u.to_host()
    simulation.advance(steps=4, recorder=recorder)
    grown = simulation.u.to_host().sum((1, 2, 3)) - before.sum((1, 2, 3))
    assert grown[1] > 1.5 * grown[0] > 0
    assert np.array_equal(recorder.into.to_host()[1], simulation.u.to_host().ravel())

"""insitu converge measures the order of a scheme, writes it, and fails where it leaves its band."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

import insitu
import solver
from insitu import cli
from insitu.convergence import Level, Study
from insitu.exact import BurgersSin

CASES = Path(__file__).parent.parent.parent / "jobs" / "convergence"
TWO_PI = 6.283185307179586
CASE = {
    "grid": {"points": [16], "extent": [[0, TWO_PI]]},
    "equation": {"class_path": "Burgers", "init_args": {"nu": 0.1, "scheme": "central"}},
    "time": {"until": 0.25},
    "convergence": {"exact": "BurgersSin", "levels": 3, "band": [1.8, 2.2]},
}


def converge(folder, *flags, **changes):
    file = folder / "case.yaml"
    file.write_text(yaml.safe_dump(CASE | changes))
    return cli.main(["converge", str(file), "--output", str(folder / "out"), *flags])


def result(folder):
    return json.loads((folder / "out" / "convergence.json").read_text())


def test_a_table_a_file_and_a_figure(tmp_path, capsys):
    assert converge(tmp_path) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == ["points", "dt", "steps", "error", "order"]
    assert [line.split()[0] for line in shown[1:4]] == ["16", "32", "64"]
    assert "within [1.8, 2.2]" in shown[4]
    found = result(tmp_path)
    errors, sizes = ([level[key] for level in found["levels"]] for key in ("error", "size"))
    assert found["status"] == "passed" and errors == sorted(errors, reverse=True)
    assert found["order"] == pytest.approx(np.polyfit(np.log(sizes), np.log(errors), 1)[0])
    assert found["levels"][1]["order"] == pytest.approx(np.log2(errors[0] / errors[1]))
    assert found["case"]["equation"]["init_args"]["nu"] == 0.1 and found["provenance"]["device"]
    assert (tmp_path / "out" / "figures" / "convergence.png").stat().st_size > 5000


def test_errors_are_those_of_the_solver(tmp_path):
    assert converge(tmp_path, "--convergence.norm=max") == 0
    grid = solver.Grid((32,), ((0.0, TWO_PI),))
    equation = solver.Burgers(0.1, scheme="central")
    simulation = solver.Simulation(solver.Device.open("auto"), grid, equation)
    simulation.advance(until=0.25)
    truth = BurgersSin().on(equation, grid)(grid.axes()[0], 0.25)
    error = np.abs(simulation.u.to_host() - truth).max() / np.abs(truth).max()
    assert result(tmp_path)["levels"][1]["error"] == pytest.approx(error, rel=1e-9)


def test_an_order_outside_its_band_is_code_1(tmp_path, capsys):
    assert converge(tmp_path, "--convergence.band=[2.9, 3.1]") == 1
    assert "outside [2.9, 3.1]" in capsys.readouterr().out
    assert result(tmp_path)["status"] == "failed"


def test_a_broken_scheme_is_code_1(tmp_path, monkeypatch):
    right = solver.Burgers._differences

    def wrong(self, grid, dt):
        named = right(self, grid, dt)
        return named | {"c_0": 0.99 * named["c_0"]}

    monkeypatch.setattr(solver.Burgers, "_differences", wrong)
    assert converge(tmp_path) == 1


def test_a_scheme_of_first_order_is_code_1(tmp_path):
    assert (
        converge(tmp_path, "--time.method=euler", "--convergence.dt=advective", "--time.dt=0.02")
        == 1
    )


def test_grids_are_compared_with_the_next_where_no_solution_is_known(tmp_path):
    assert converge(tmp_path, "--convergence.exact=self", "--convergence.levels=4") == 0
    found = result(tmp_path)
    assert found["levels"][3]["error"] is None and found["levels"][2]["order"] == pytest.approx(
        2, abs=0.1
    )


def test_the_order_in_time_is_that_of_the_method(tmp_path):
    flags = ("--convergence.refine=time", "--convergence.levels=4", "--time.dt=0.03")
    for method, order in (("euler", 1), ("ssp-rk2", 2), ("ssp-rk3", 3), ("rk4", 4)):
        band = f"--convergence.band=[{order - 0.2}, {order + 0.2}]"
        assert converge(tmp_path, *flags, band, f"--time.method={method}") == 0, method
        assert [level["steps"] for level in result(tmp_path)["levels"]] == [9, 18, 36, 72]


@pytest.mark.parametrize(("rule", "ratio"), [("fixed", 1), ("advective", 2), ("diffusive", 4)])
def test_time_steps_follow_their_rule(tmp_path, rule, ratio):
    dt = "0.005" if rule == "fixed" else "0.02"
    converge(tmp_path, f"--convergence.dt={rule}", f"--time.dt={dt}", "--time.force=true")
    steps = [level["steps"] for level in result(tmp_path)["levels"]]
    assert steps[1] == pytest.approx(ratio * steps[0], abs=1)
    assert steps[2] == pytest.approx(ratio**2 * steps[0], abs=1)


def test_sides_and_forcing_come_from_the_solution(tmp_path):
    changes = {
        "grid": {
            "points": [12, 10],
            "extent": [[0, 1], [0, 1]],
            "boundaries": [["Dirichlet", "Neumann"], ["Periodic", "Periodic"]],
        },
        "equation": {
            "class_path": "AdvectionDiffusion",
            "init_args": {"diffusivity": 0.1, "velocity": [1, 0.5], "forcing": 0},
        },
        "convergence": {"exact": "Manufactured", "levels": 3, "band": [1.8, 2.2]},
    }
    assert converge(tmp_path, **changes) == 0


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--convergence.levels=2"], "at least 3 grids, got 2"),
        (["--convergence.points=[[16], [32]]"], "at least 3 grids, got 2"),
        (["--convergence.exact=self"], "at least 4 grids, each compared with the next, got 3"),
        (["--convergence.points=[[16], [64], [32]]"], "must become finer"),
        (["--convergence.exact=self", "--convergence.points=[[16],[24],[32],[64]]"], "refine by one factor"),
        (["--convergence.band=null"], "convergence.band must be the lowest and the highest order"),
        (["--convergence.band=[2, 1]"], "the lowest and the highest order that pass, got [2.0, 1.0]"),
        (["--convergence.factor=1"], "convergence.factor must be 2 or more, got 1"),
        (["--convergence.refine=time", "--convergence.levels=4", "--convergence.dt=fixed"], "keeps the grid"),
        (["--convergence.exact=Fletcher"], "Fletcher has 2 axes"),
        (["--convergence.exact=Fourier"], "solution of AdvectionDiffusion, got Burgers; choose another, or self"),
        (["--convergence.exact=Waves"], "convergence.exact must name a known class or give its class_path, got Waves"),
        (["--convergence.exact=Gaussian"], "parameter of insitu.exact.Gaussian without a default, got none for width"),
        (["--convergence.exact=Manufactured"], "give equation.init_args forcing: 0"),
        (["--equation.nu=[0.1, 0.2]"], "got an ensemble of 2"),
        (["--time.until=null", "--time.steps=5"], "compared at one time"),
        (["--time.dt=0.01"], "convergence.dt must be fixed, advective or diffusive, got limit"),
        (["--convergence.dt=fixed"], "convergence.dt fixed needs time.dt"),
        (["--convergence.dt=advective", "--time.cfl=0.5"], "goes with convergence.dt limit"),
        (["--convergence.dt=fixed", "--time.dt=0.2"], "at most the stability limit"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_and_code_2(flags, sentence, tmp_path, capsys):
    assert converge(tmp_path, *flags) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("insitu: error: ") and sentence in error


def test_a_level_that_diverges_is_code_3(tmp_path, capsys):
    flags = ["--convergence.dt=fixed", "--time.dt=0.125", "--time.force=true", "--time.until=50"]
    assert converge(tmp_path, *flags) == 3
    assert "must stay finite" in capsys.readouterr().err


def test_an_error_of_zero_has_no_order():
    levels = [Level((n,), 1.0, 1, 1 / n, 0.0) for n in (1, 2, 3)]
    study = Study("space", "l2", "self", (1.0, 2.0), levels)
    with pytest.raises(ValueError, match="errors must be above zero"):
        study.judge()


@pytest.mark.parametrize("file", sorted(CASES.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_shipped_case_is_a_study(file):
    case, _ = insitu.load_case(file)
    assert case.convergence.band is not None and case.time.until is not None


def test_no_equation_is_left_out():
    shipped = {type(insitu.load_case(file)[0].equation) for file in CASES.glob("*.yaml")}
    known = {
        each
        for each in vars(solver).values()
        if isinstance(each, type) and issubclass(each, solver.Equation)
    }
    assert known - {solver.Equation} <= shipped

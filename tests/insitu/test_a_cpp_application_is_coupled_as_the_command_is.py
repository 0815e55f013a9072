"""The C++ mini-app of examples/cpp has the modes and forecasts of `insitu run`, and failures cross the language on all ranks."""

import csv
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.applications import CASE, QUICK
from helpers.processes import environment, finish, start_ranks

import insitu
from insitu import load_case
from insitu.information import cmake_directory
from insitu.reduction import POD

ROOT = Path(__file__).parent.parent.parent
SECONDS = 280  # where cores are busy with other tests; 10 where they are not
FLAGS = [text for key, value in QUICK.items() for text in (f"--{key}", str(value))]

FAULTY = '''
from mpi4py import MPI
from insitu.reduction import StreamingPOD

class Faulty(StreamingPOD):
    """A reduction that fails on rank 1 when the ring is full, in the middle of a step, while the others wait for it."""

    def partial_fit(self, X, y=None, comm=None):
        if comm.rank == 1:
            raise RuntimeError("no more modes")
        comm.Barrier()
        return self
'''


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """The example and an application full of mistakes, built as a user builds them."""
    for tool in ("cmake", "mpicxx"):
        if shutil.which(tool, path=environment()["PATH"]) is None:
            pytest.skip(f"{tool} is not found")
    if importlib.util.find_spec("pybind11") is None:
        pytest.skip("pybind11 is not installed: pip install 'insitu[cpp]'")
    source, build = tmp_path_factory.mktemp("application"), tmp_path_factory.mktemp("build")
    shutil.copytree(ROOT / "examples" / "cpp", source, dirs_exist_ok=True)
    shutil.copy(ROOT / "tests" / "helpers" / "faulty_application.cpp", source)
    with open(source / "CMakeLists.txt", "a") as lists:
        lists.write(
            "add_executable(faulty faulty_application.cpp)\n"
            "target_link_libraries(faulty PRIVATE insitu::insitu)\n"
        )
    flags = [f"-Dinsitu_DIR={cmake_directory()}", f"-DINSITU_PYTHON={sys.executable}"]
    flags += ["-DCMAKE_BUILD_TYPE=None"]
    for command in (
        ["cmake", "-S", source, "-B", build, *flags],
        ["cmake", "--build", build, "--parallel", "2"],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return build


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("command")
    insitu.run(CASE, QUICK, folder)
    return folder


def modes_of(folder, ranks):
    names = ["basis.npz"] if ranks == 1 else [f"basis-{rank:04d}.npz" for rank in range(ranks)]
    return np.concatenate([np.load(folder / name)["modes"] for name in names], axis=1)


@pytest.mark.parametrize("ranks", [1, 2])
def test_modes_and_forecast_are_those_of_the_command(programs, reference, tmp_path, ranks):
    command = [programs / "burgers", CASE, "--output", tmp_path, "--dump", tmp_path / "forecast"]
    status, out, err = finish(start_ranks(ranks, *command, *FLAGS), SECONDS)
    assert (status, err) == (0, "")
    report, its = (
        json.loads((folder / "report.json").read_text()) for folder in (tmp_path, reference)
    )
    assert report["status"] == "finished"
    assert report["sampling"] == its["sampling"]
    loop = next(stage for stage in report["stages"] if stage["name"] == "time loop")
    assert loop["copies"] == loop["through_host"] == 0
    own, known = modes_of(tmp_path, ranks), modes_of(reference, 1)
    if ranks == 1:
        assert np.array_equal(own, known)
        assert (tmp_path / "series.csv").read_text() == (reference / "series.csv").read_text()
    assert np.abs(own - known).max() < 1e-12
    for split, numbers in its["learning"].items():
        for name, told in numbers["models"].items():
            found = report["learning"][split]["models"][name]
            assert found["field_error"] == pytest.approx(told["field_error"], rel=1e-6)
    forecast = np.concatenate(
        [np.loadtxt(f"{tmp_path}/forecast-{rank}", ndmin=1) for rank in range(ranks)]
    )
    assert forecast.shape == (256,)
    assert np.abs(forecast - expected_forecast(reference)).max() < 1e-6
    assert "published" in out


def expected_forecast(folder):
    """Forecast what the application asks for, 100 snapshots beyond the newest, with the saved model."""
    model = load_case(CASE, QUICK)[0].learning.model
    model.load_state_dict(torch.load(folder / "model.pt", weights_only=True)["model"])
    rows = list(csv.DictReader((folder / "series.csv").read_text().splitlines()))
    newest = [[float(row[f"a{k}"]) for k in range(3)] for row in rows[-model.history :]]
    rolled = model.forecast(torch.tensor(newest, dtype=torch.float64), 100)
    return POD.load(folder / "basis.npz").inverse_transform(rolled)[-1].numpy()


def test_an_exception_in_a_step_ends_all_ranks_with_its_traceback(programs, tmp_path):
    (tmp_path / "faulty.py").write_text(FAULTY)
    reduction = "{class_path: faulty.Faulty, init_args: {rank: 3}}"
    command = [programs / "burgers", CASE, "--output", tmp_path / "out", *FLAGS]
    command += ["--sampling.window", "50", "--learning.reduction", reduction]
    path = f"{tmp_path}:{environment().get('PYTHONPATH', '')}"
    status, _, err = finish(start_ranks(2, *command, PYTHONPATH=path), SECONDS)
    assert status != 0
    assert err.count("Traceback") == 1
    assert 'faulty.py", line' in err and "RuntimeError: no more modes" in err


def test_errors_can_be_caught_and_exceptions_of_the_application_are_its_own(programs, tmp_path):
    command = [programs / "faulty", CASE, tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    told = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert told["no case"].startswith("CaseError with traceback")
    assert "absent.yaml is none" in told["no case"]
    assert "must have a key grid.spacing" in told["absent key"]
    for name in ("integers", "integers read"):
        assert "CaseError" in told[name] and "a field must hold float or double" in told[name]
    assert "nothing has been learnt" in told["bytes read"], (
        "memory without a type is taken for the field's"
    )
    assert "field u must hold 1 x 256" in told["too small"] and "(10,)" in told["too small"]
    assert "that of u was freed or moved before step 2" in told["freed"]
    assert done.returncode < 0
    assert "of the application" in done.stderr and "Traceback" not in done.stderr

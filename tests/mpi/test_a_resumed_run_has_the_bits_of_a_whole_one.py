"""A run stopped in its midst and resumed ends in the bits of the run that was not; on other numbers of ranks within round-off."""

import os

import numpy as np
import pytest
import yaml
from helpers.runs import differences, fields, leave_figures_out

from insitu.checkpoint import keeper, stops
from insitu.config import load_case
from insitu.pipeline import run_case

TWO_PI = 6.283185307179586
LEARNING = {"model": "DMD", "baselines": ["Persistence"], "splits": ["causal"]}
BURGERS = {"class_path": "Burgers", "init_args": {"nu": 0.1}}
CNN = {"class_path": "insitu.surrogates.ResidualCNN"}
CORE = CNN | {"init_args": {"axes": 1, "inputs": 1, "outputs": 1, "width": 4}}
LINE = {
    "grid": {"points": [64], "extent": [[0, TWO_PI]]},
    "equation": BURGERS,
    "time": {"until": 1.0},
    "sampling": {"every": 2},
    "learning": LEARNING,
}
STREAM = {
    "reduction": {
        "class_path": "insitu.reduction.StreamingPOD",
        "init_args": {"rank": 3, "oversampling": 2},
    }
}
ONLINE = {
    "model": {
        "class_path": "insitu.surrogates.Surrogate",
        "init_args": {"core": CORE, "components": 1},
    },
    "warm_up": 4,
    "capacity": 11,
    "validate_every": 3,
}
SIDES = [
    [{"class_path": "Dirichlet", "init_args": {"value": 1.5}}, "Neumann"],
    ["Periodic", "Periodic"],
]
CHANNEL = LINE | {
    "initial": "gaussian",
    "grid": {"points": [20, 16], "extent": [[0, 1], [0, 1]], "boundaries": SIDES},
    "equation": {
        "class_path": "AdvectionDiffusion",
        "init_args": {"diffusivity": [0.05, 0.08], "velocity": [1.0, 0.5]},
    },
    "time": {"until": 0.2, "cfl": 0.9},
    "sampling": {"interval": 0.01},
}
SHEAR = LINE | {
    "initial": {"class_path": "insitu.flows.DoubleShearLayer"},
    "grid": {"points": [32, 32], "extent": [[0, 1], [0, 1]]},
    "equation": {"class_path": "NavierStokes", "init_args": {"nu": 0.01}},
    "time": {"steps": 24},
    "sampling": {"every": 1},
}
CHAOS = LINE | {
    "grid": {"points": [64], "extent": [[0, 22.0]]},
    "equation": {"class_path": "KuramotoSivashinsky"},
    "time": {"steps": 200},
    "sampling": {"every": 10},
}
TRAINED = LINE | {
    "online": ONLINE,
    "sampling": {"every": 2, "window": 9},
    "learning": LEARNING | STREAM,
}
CORRECTION = {
    "class_path": "insitu.closure.Correction",
    "init_args": {"core": CORE, "components": 1},
}
CLOSED = LINE | {
    "equation": {
        "class_path": "Burgers",
        "init_args": {"nu": 0.1, "scheme": "central", "forcing": 0.0},
    },
    "closure": {"model": CORRECTION, "every": 5},
}
LEARNT = LINE | {
    "learning": {
        "model": {
            "class_path": "insitu.models.LSTM",
            "init_args": {"hidden": 4, "layers": 1, "training": {"epochs": 3}},
        }
    },
    "time": {"steps": 30},
}
TAKEN = LINE | {
    "initial": "gaussian",
    "equation": {
        "class_path": "AdvectionDiffusion",
        "init_args": {"diffusivity": 0.02, "velocity": [1.0]},
    },
    "time": {"steps": 3000, "dt": 0.0005},
    "sampling": {"every": 50},
    "takeover": {
        "steps": 16,
        "core": {
            "class_path": "insitu.surrogates.PatchCore",
            "init_args": {"components": 1, "axes": 1, "reach": 4, "rank": 4, "degree": 1},
        },
        "first": 8,
        "pairs": 16,
    },
}
CASES = {
    "line": LINE,
    "channel": CHANNEL,
    "shear": SHEAR,
    "chaos": CHAOS,
    "trained": TRAINED,
    "closed": CLOSED,
    "learnt": LEARNT,
    "taken": TAKEN,
}
STOPS = {name: 5 for name in CASES} | {"learnt": 14, "taken": 14}  # the look at which to stop


@pytest.fixture
def run(shared_path, monkeypatch):
    """Run a case on the ranks of a communicator, stopped at one of its moments where that is given."""
    monkeypatch.setattr(keeper, "_LOOK", 0.0)
    leave_figures_out(monkeypatch)

    def start(name, folder, comm, stop=None):
        file = shared_path / f"{os.getpid()}.yaml"
        file.write_text(yaml.safe_dump(CASES[name]))
        flags = {"device": "Serial", "checkpoint.steps": 3, "checkpoint.keep_finished": True}
        moments = iter(range(1, 10**6))

        def reason(self, spare=0.0):
            return 3 if stop is not None and next(moments) >= stop else 0

        monkeypatch.setattr(stops.Stops, "reason", reason)
        report = run_case(*load_case(file, flags), shared_path / folder, comm)
        comm.Barrier()  # rank 0 is the last to write
        return report

    return start


@pytest.mark.ranks(2)
@pytest.mark.parametrize("name", [name for name in CASES if name != "taken"])
def test_on_the_same_ranks(comm, run, shared_path, name):
    require_the_same(comm, run, shared_path, name)


@pytest.mark.ranks(1)
@pytest.mark.parametrize("name", ["taken", "learnt", "trained"])
def test_on_one_rank(comm, run, shared_path, name):
    require_the_same(comm, run, shared_path, name)


def require_the_same(comm, run, shared_path, name):
    whole = run(name, "whole", comm)
    stopped = run(name, "stopped", comm, STOPS[name])
    assert stopped.status == "unfinished"
    assert 0 < stopped.simulation["steps"] < whole.simulation["steps"] + (name == "learnt")
    assert run(name, "stopped", comm).status == "finished"
    assert differences(shared_path / "whole", shared_path / "stopped") == []


@pytest.mark.ranks(2, 4)
@pytest.mark.parametrize("name", ["line", "shear", "trained"])
@pytest.mark.parametrize("fewer", [True, False], ids=["fewer", "more"])
def test_on_another_number_of_ranks(comm, run, shared_path, name, fewer):
    few = comm.Split(0 if comm.rank < comm.size - 1 else 1)
    first, second = (comm, few) if fewer else (few, comm)
    run(name, "whole", comm)
    for folder_of, ranks, stop in (("moved", first, 5), ("moved", second, None)):
        if ranks is comm or comm.rank < comm.size - 1:
            run(name, folder_of, ranks, stop)
        comm.Barrier()
    expected, found = (fields(shared_path / each) for each in ("whole", "moved"))
    for key, values in expected.items():
        tolerance = 1e-12 if name != "shear" else 1e-7
        assert np.abs(found[key] - values).max() <= tolerance * max(1.0, np.abs(values).max()), key
    few.Free()

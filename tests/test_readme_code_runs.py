"""The README's Python runs as it stands, its error is the one it shows, and the block on ranks runs on two."""

import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.processes import finish, start_ranks

import insitu
import solver
from solver import ArgumentError

README = (Path(__file__).parent.parent / "README.md").read_text()
FIRST, KERNEL, RANKS, PUSHED = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_the_code_blocks_run_in_order(monkeypatch):
    monkeypatch.setenv("INSITU_DEVICE", "OpenMP")
    names: dict[str, object] = {}
    exec(FIRST, names)
    said = re.search(r"# ArgumentError: (.*?) \.\.\.", KERNEL)[1]
    with pytest.raises(ArgumentError) as caught:
        exec(KERNEL, names)
    assert str(caught.value).startswith(said)


def test_the_block_on_ranks_runs_on_two():
    code = FIRST + RANKS
    ranks = start_ranks(2, sys.executable, "-c", code, INSITU_DEVICE="OpenMP")
    status, out, err = finish(ranks)
    assert (status, err) == (0, "")
    assert out.count("Block(") == out.count("(1, 256)") == 2


def test_the_application_forecasts_its_wave(tmp_path):
    names = {"insitu": insitu, "solver": solver, "np": np, "math": math}
    exec(PUSHED.replace("out/application", str(tmp_path)), names)
    assert names["report"].status == "finished"
    x = names["dx"] * np.arange(128)
    assert np.abs(names["ahead"][0].numpy() - np.sin(x - 2.1)).max() < 1e-6

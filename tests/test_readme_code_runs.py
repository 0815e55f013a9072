"""The README's Python runs as it stands, and its last line fails as it says."""

import re
from pathlib import Path

import pytest

from solver import ArgumentError

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_code_blocks_run_in_order(monkeypatch):
    monkeypatch.setenv("INSITU_DEVICE", "OpenMP")
    first, second, ranks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    names: dict[str, object] = {}
    exec(first, names)
    said = re.search(r"# ArgumentError: (.*?) \.\.\.", second)[1]
    with pytest.raises(ArgumentError) as caught:
        exec(second, names)
    assert str(caught.value).startswith(said)
    exec(ranks, names)

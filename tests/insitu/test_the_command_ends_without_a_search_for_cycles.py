"""A stopped run has little time left: what the process has is not searched for cycles at its end."""

import faulthandler
import gc
import sys

import pytest

from insitu import cli, ending


def test_all_objects_are_left_out(monkeypatch, capsys):
    monkeypatch.setattr(faulthandler, "enable", lambda: None)
    monkeypatch.setattr(ending, "is_launched", lambda: False)
    monkeypatch.setattr(sys, "argv", ["insitu", "report", "nowhere"])
    gc.unfreeze()
    try:
        with pytest.raises(SystemExit) as ended:
            cli.entry()
        assert ended.value.code == 2 and "nowhere" in capsys.readouterr().err
        assert gc.get_freeze_count() > 100_000
    finally:
        gc.unfreeze()

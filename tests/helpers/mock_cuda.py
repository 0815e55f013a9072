"""Runs a script on the mock CUDA driver and reads what reached the driver."""

import subprocess
from pathlib import Path

from helpers.processes import run_python

PREAMBLE = """
import ctypes, sys, numpy as np, solver
_driver = ctypes.CDLL("libcuda.so.1")
def mark(text):
    _driver.mock_mark(text.encode())
"""


def build_driver(folder):
    """Compile the mock as ``libcuda.so.1`` in a folder."""
    source = Path(__file__).with_name("mock_libcuda.c")
    library = Path(folder) / "libcuda.so.1"
    command = ["gcc", "-shared", "-fPIC", "-w", "-o", library, source]
    subprocess.run(command, check=True)
    return library.parent


class Call(dict):
    """One driver call: its ``name`` and its arguments as text."""

    def __init__(self, line):
        self.name, *parts = line.split()
        super().__init__(part.split("=", 1) for part in parts)

    def __repr__(self):
        return f"{self.name}({dict.__repr__(self)})"


class Log:
    """The driver calls of a run, whole or by the marks the script set."""

    def __init__(self, text):
        self.calls = []
        self.sections = {}
        section = self.sections.setdefault("start", [])
        for line in text.splitlines():
            call = Call(line)
            if call.name == "mark":
                section = self.sections.setdefault(call["text"], [])
            else:
                self.calls.append(call)
                section.append(call)

    def names(self, section):
        """Return the names of the calls between one mark and the next."""
        return [call.name for call in self.sections[section]]


def run_on_mock(driver, folder, script):
    """Run a script with the mock driver; return (exit code, stdout, stderr, Log)."""
    log = Path(folder) / "driver.log"
    log.unlink(missing_ok=True)
    status, out, err = run_python(
        PREAMBLE + script, timeout=300, LD_LIBRARY_PATH=driver, MOCK_CUDA_LOG=log
    )
    return status, out, err, Log(log.read_text() if log.exists() else "")

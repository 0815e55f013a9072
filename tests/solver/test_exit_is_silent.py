"""Whatever is alive when the interpreter ends, in whichever order it goes: nothing is printed."""

import pytest
from helpers.kernels import AXPY
from helpers.processes import output_of

SETUP = f"""
import sys, gc, numpy as np, solver
device = solver.Device.open(sys.argv[1])
memory = device.allocate((1000,))
memory.copy_from(np.ones(1000))
kernel = device.build({AXPY!r}, "axpy", {{"real": "double"}})
tag = device.tag()
part = memory[512:]
kernel(488, 2.0, part, part)
"""

ENDINGS = {
    "everything alive": "",
    "device first": "del device, memory, kernel, tag, part",
    "device last": "del part, tag, kernel, memory, device",
    "kernel last": "del memory, part, tag, device, kernel",
    "part last": "del memory, device, tag, kernel, part",
    "in a cycle": (
        "box = [device, memory, kernel, tag, part]; box.append(box); "
        "del device, memory, kernel, tag, part, box"
    ),
    "in a module": "sys.kept = [part, tag, kernel, device, memory]",
    "in a finalizer": """
import weakref
class A: pass
a = A()
weakref.finalize(a, lambda: kernel(10, 1.0, memory, memory))
""",
    "at exit": """
import atexit
atexit.register(lambda: (kernel(10, 1.0, memory, memory), device.finish()))
""",
    "after an error": "import contextlib\nwith contextlib.suppress(TypeError): kernel(1)",
    "in a thread": """
import threading
def work():
    for _ in range(1000): kernel(10, 1.0, memory, memory)
threading.Thread(target=work).start()
""",
}

HOST_VIEWS = """
import torch
array, tensor = np.from_dlpack(memory), torch.from_dlpack(memory)
view, capsule, wide = np.asarray(part), part.__dlpack__(), np.asarray(memory)
wrapped = device.wrap(torch.arange(10.0, dtype=torch.float64))
again = torch.from_dlpack(wrapped)
kernel(10, 1.0, wrapped, wrapped)
sys.kept = [again]
del device, memory, kernel, tag, part
"""


@pytest.mark.parametrize("ending", ENDINGS)
def test_exit_is_silent(device, ending):
    assert output_of(SETUP + ENDINGS[ending], device.mode) == ""


def test_exit_with_live_views_of_other_libraries_is_silent(host_device):
    assert output_of(SETUP + HOST_VIEWS, host_device.mode) == ""


def test_importing_needs_no_cache():
    assert output_of("import solver", OCCA_CACHE_DIR="/proc/none", HOME="/proc/none") == ""

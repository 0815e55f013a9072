"""Where kernels are compiled and cached, one process at a time.

OCCA 1's own lock lets several processes write one binary at once, so every use of the cache is
inside an flock, which the operating system releases when its holder dies.
"""

import contextlib
import fcntl
import functools
import hashlib
import os
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from solver import _occa
from solver.errors import DeviceError

_in_process = threading.RLock()
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def package_directory() -> Path:
    """Return where the native parts of this package are installed."""
    return Path(_occa.__file__).parent


def occa_directory() -> Path:
    """Return the OCCA used at run time: a site's (OCCA_DIR at build time) or the bundled one."""
    return Path(_occa.occa_dir) if _occa.occa_origin == "site" else package_directory() / "occa"


def stub_directory() -> Path:
    """Return the folder of the short ``occa.hpp`` that host kernels of OCCA 1 include."""
    return package_directory() / "jit"


@functools.cache
def _processor() -> str:
    """Return a name for this machine's processor: its code must not load on another."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    kept = ("model name", "flags", "Features", "CPU part")
    lines = [os.uname().machine, *(line for line in text.splitlines() if line.startswith(kept))]
    return hashlib.sha256("\n".join(sorted(set(lines))).encode()).hexdigest()[:10]


def cache_directory() -> Path:
    """Return the kernel cache of this machine, by OCCA version and processor.

    It is in ``$OCCA_CACHE_DIR``, or in ``~/.cache/insitu``.
    """
    base = os.environ.get("OCCA_CACHE_DIR")
    if not base:
        caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        base = os.path.join(caches, "insitu")
    return Path(base).resolve() / f"occa-{_occa.occa_version}-{_processor()}"


def prepare_cache() -> Path:
    """Make the cache and return it.

    Raises
    ------
    DeviceError
        The cache cannot be written.
    """
    cache = cache_directory()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            pass
    except OSError as error:
        raise DeviceError(
            f"the kernel cache must be writable, got {error.strerror} for {cache}; "
            "set OCCA_CACHE_DIR to a writable folder"
        ) from None
    return cache


@contextlib.contextmanager
def exclusive(cache: Path) -> Iterator[None]:
    """Point OCCA at the cache and hold it against every other process and thread.

    Locks of OCCA's own that a killed process left in it are cleared.
    """
    with _in_process, open(cache / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(cache / "locks", ignore_errors=True)
        _occa.configure(f"{occa_directory()}/", f"{cache}/")
        yield


class Output:
    """What OCCA and its compilers wrote to the process's output while captured."""

    text = ""


@contextlib.contextmanager
def captured_output() -> Iterator[Output]:
    """Redirect the file descriptors 1 and 2, which compilers inherit, and keep what was written.

    The whole process is redirected: what other threads print meanwhile is kept, too.
    """
    output = Output()
    sys.stdout.flush()
    sys.stderr.flush()
    with tempfile.TemporaryFile() as sink:
        saved = os.dup(1), os.dup(2)
        try:
            os.dup2(sink.fileno(), 1)
            os.dup2(sink.fileno(), 2)
            yield output
        finally:
            os.dup2(saved[0], 1)
            os.dup2(saved[1], 2)
            os.close(saved[0])
            os.close(saved[1])
            sink.seek(0)
            output.text = _ANSI.sub("", sink.read().decode(errors="replace")).strip()

"""Where results come from."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from solver import Device, build_information

__all__ = ["provenance"]

_PACKAGES = ("insitu", "numpy", "torch", "scikit-learn", "mpi4py", "matplotlib")


def provenance(device: Device) -> dict[str, Any]:
    """Return versions, OCCA's origin, device, and the git commit of the sources where there is one."""
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = None
    return {
        "versions": {
            "python": platform.python_version(),
            **{name: _version(name) for name in _PACKAGES},
        },
        "occa": build_information(),
        "device": str(device),
        "git_commit": commit,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None

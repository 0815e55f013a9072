"""CMake takes this insitu for its own minor version, and no other: the example asks for one it takes."""

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from helpers.processes import environment

from insitu.information import cmake_directory

ROOT = Path(__file__).parent.parent.parent
SCRIPT = """
foreach(asked 0.1.0 0.1 0.1.1 0.2 0.0.9 1.0)
  string(REPLACE "." ";" parts ${asked})
  list(GET parts 0 PACKAGE_FIND_VERSION_MAJOR)
  list(GET parts 1 PACKAGE_FIND_VERSION_MINOR)
  set(PACKAGE_FIND_VERSION ${asked})
  set(PACKAGE_VERSION_COMPATIBLE FALSE)
  include(${folder}/insituConfigVersion.cmake)
  if(PACKAGE_VERSION_COMPATIBLE)
    message("${PACKAGE_VERSION} is taken for ${asked}")
  endif()
endforeach()
find_package(insitu 0.2 CONFIG PATHS ${folder} NO_DEFAULT_PATH QUIET)
message("found for 0.2: ${insitu_FOUND}, considered ${insitu_CONSIDERED_VERSIONS}")
"""


def test_which_versions_are_taken(tmp_path):
    cmake = shutil.which("cmake", path=environment()["PATH"])
    if cmake is None:
        pytest.skip("cmake is not found: pip install 'insitu[cpp]'")
    (tmp_path / "ask.cmake").write_text(SCRIPT)
    done = subprocess.run(
        [cmake, f"-Dfolder={cmake_directory()}", "-P", "ask.cmake"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        f"{version} is taken for 0.1.0",
        f"{version} is taken for 0.1",
        f"found for 0.2: 0, considered {version}",
    ]

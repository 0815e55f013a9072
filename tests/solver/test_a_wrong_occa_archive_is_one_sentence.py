"""A missing or corrupt OCCA archive stops the build with what was expected, what was got, and the remedy."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent.parent / "solver" / "native" / "cmake" / "OccaArchive.cmake"


def configure(folder, source):
    return subprocess.run(
        ["cmake", "-P", str(SCRIPT)],
        cwd=folder,
        env={**os.environ, "INSITU_OCCA_SOURCE": str(source)},
        capture_output=True,
        text=True,
    )


def test_a_missing_archive(tmp_path):
    done = configure(tmp_path, tmp_path / "nowhere.tar.gz")
    assert done.returncode != 0
    text = " ".join(done.stderr.split())
    assert "must name the archive occa-0.4.1.tar.gz, got" in text and "unset the variable" in text


@pytest.mark.parametrize("content", [b"", b"not an archive"])
def test_a_corrupt_archive(tmp_path, content):
    archive = tmp_path / "occa-0.4.1.tar.gz"
    archive.write_bytes(content)
    done = configure(tmp_path, archive)
    assert done.returncode != 0
    text = " ".join(done.stderr.split())
    assert (
        "must be the OCCA release 0.4.1 with SHA-256 b0db99c5" in text and "obtain it again" in text
    )

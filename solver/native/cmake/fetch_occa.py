"""Obtain the OCCA release archive from the Python package index: fetch_occa.py VERSION TARGET."""

import sys
from pathlib import Path

from pypi_simple import PyPISimple

version, target = sys.argv[1], Path(sys.argv[2])
with PyPISimple() as index:
    release = next(
        package
        for package in index.get_project_page("occa").packages
        if package.package_type == "sdist" and package.version == version
    )
    index.download_package(release, target)

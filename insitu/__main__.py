"""``python -m insitu`` is ``insitu``."""

from insitu.cli import entry

entry()

"""Fields over time: files that ParaView and xarray read, written by all ranks while the simulation runs."""

from insitu.output.reading import Fields, find_fields
from insitu.output.settings import Output

__all__ = ["Fields", "Output", "find_fields"]

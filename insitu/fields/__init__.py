"""Fields over time: files that ParaView and xarray read, written by all ranks while the simulation runs."""

from insitu.fields.reading import Fields, find_fields
from insitu.fields.settings import FieldFile

__all__ = ["Fields", "FieldFile", "find_fields"]

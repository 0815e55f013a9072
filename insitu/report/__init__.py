"""What a run leaves behind: numbers, files, figures, and a page that shows them."""

from insitu.report.files import (
    save_field,
    save_online,
    save_snapshots,
    save_split,
    save_surrogates,
)
from insitu.report.folder import prepare_folder
from insitu.report.numbers import Report, finite
from insitu.report.page import write_page
from insitu.report.provenance import provenance
from insitu.report.replay import animate

__all__ = [
    "Report",
    "animate",
    "finite",
    "prepare_folder",
    "provenance",
    "save_field",
    "save_online",
    "save_snapshots",
    "save_split",
    "save_surrogates",
    "write_page",
]

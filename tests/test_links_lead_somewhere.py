"""Links between the project's own pages, files and headings lead somewhere; those to other sites are checked by hand."""

import pytest
from helpers.pages import PAGES, ROOT, anchors, links


@pytest.mark.parametrize(
    "page", [*PAGES, *(ROOT / "notebooks").glob("*.py")], ids=lambda page: str(page.name)
)
def test_files_and_headings_exist(page):
    broken = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        if ":" in path:
            continue
        target = (page.parent / path).resolve() if path else page
        is_there = target.exists() and target.is_relative_to(ROOT)
        if not is_there or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken

"""A run, finished or not, leaves one page that shows what it did, asks for nothing else, and can be made again."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from insitu.cli import main
from insitu.config import CaseError, load_case
from insitu.pipeline import run_case
from insitu.report import animate, write_page
from solver import DivergenceError

CASE = {
    "device": "Serial",
    "grid": {"points": [32], "extent": [[0, 6.283185307179586]]},
    "equation": {"class_path": "Burgers", "init_args": {"nu": 0.1}},
    "time": {"until": 1.0},
    "sampling": {"interval": 0.05},
    "learning": {"model": "DMD", "baselines": ["Persistence"]},
    "fields": {"format": "zarr"},
}
BROWSER = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)


def run(folder, **changes):
    (folder / "case.yaml").write_text(yaml.safe_dump(CASE | changes))
    case, plain = load_case(folder / "case.yaml")
    return run_case(case, plain, folder)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    run(folder)
    return folder


@pytest.fixture
def folder(finished, tmp_path):
    """A copy of a finished run."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def text_of(page):
    """Return what is to be read on a page."""
    body = re.sub(r"<style>.*?</style>|<[^>]+>", " ", page.read_text(), flags=re.DOTALL)
    return re.sub(r"[ \n]+", " ", html.unescape(body))


def test_the_page_has_the_numbers_the_figures_and_the_case(finished):
    page, report = finished / "report.html", json.loads((finished / "report.json").read_text())
    text = text_of(page)
    for split in report["learning"].values():
        for name, numbers in split["models"].items():
            assert f"{name} {numbers['field_error']:.4g}" in text
        assert f"projection (floor) {split['projection_error']:.4g}" in text
    for stage in report["stages"]:
        assert f"{stage['name']} {stage['seconds']:.4g}" in text
    assert report["provenance"]["versions"]["numpy"] in text
    assert (finished / "case.yaml").read_text().strip() in html.unescape(page.read_text())
    assert "fields.zarr : 21 states of u" in text
    drawn = len(list((finished / "figures").glob("*.png")))
    images = re.findall(r'<img src="data:image/png;base64,[^"]+" alt="([^"]*)"', page.read_text())
    assert len(images) == drawn > 4
    assert all(len(alternative) > 20 for alternative in images)


def test_the_page_asks_for_nothing(finished):
    page = (finished / "report.html").read_text()
    asked = re.findall(r'(?:src|href|srcset|action|data)="([^"]*)"', page)
    assert asked and all(each.startswith("data:") for each in asked)
    assert "<script" not in page and "@import" not in page and "url(" not in page


def test_all_is_drawn_again_from_what_is_saved(folder):
    figures = {file: file.read_bytes() for file in (folder / "figures").glob("*.png")}
    for file in (*figures, folder / "report.html"):
        file.unlink()
    assert main(["report", str(folder)]) == 0
    assert {file: file.read_bytes() for file in (folder / "figures").glob("*.png")} == figures
    assert (folder / "report.html").is_file()


def test_the_evolution_is_drawn_from_the_field_file_where_nothing_else_is_left(folder):
    (folder / "figures" / "field_evolution.npz").unlink()
    (folder / "figures" / "field_evolution.png").unlink()
    (folder / "series.csv").unlink()
    write_page(folder)
    assert (folder / "figures" / "field_evolution.png").is_file()


def test_texts_of_a_run_are_no_markup(folder):
    (folder / "series.csv").unlink()
    report = json.loads((folder / "report.json").read_text())
    report |= {"status": "failed", "error": "<script>alert(1)</script> & so on"}
    (folder / "report.json").write_text(json.dumps(report))
    page = write_page(folder).read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; so on" in page


def test_a_run_that_diverged_says_so_at_the_top(tmp_path):
    with pytest.raises(DivergenceError):
        run(
            tmp_path,
            time={"until": 40.0, "dt": 1.0, "force": True},
            sampling={"every": 1},
            fields={"format": "vtkhdf"},
        )
    text = text_of(tmp_path / "report.html")
    message = json.loads((tmp_path / "report.json").read_text())["error"]
    assert 0 < text.index("diverged") < text.index(message) < text.index("Figures")


def test_a_run_that_left_no_report_is_shown_as_unfinished(folder):
    (folder / "series.csv").unlink()
    (folder / "report.json").unlink()
    state = {
        "status": "unfinished",
        "step": 1234,
        "time": 0.5,
        "checkpoint": "step-1200",
        "reason": "signal SIGTERM",
        "stage": "time loop",
    }
    (folder / "state.json").write_text(json.dumps(state))
    text = text_of(write_page(folder))
    for told in (
        "Burgers, 32 points unfinished",
        "Stopped by: signal SIGTERM",
        "step 1\u202f234, t = 0.5",
        "step-1200",
    ):
        assert told in text
    assert "The field from t = 0.05 to 1" in text


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(
        CaseError, match="must be the directory of a run, it has neither report.json"
    ):
        write_page(tmp_path)


def test_an_animation_has_a_frame_for_each_state(folder, monkeypatch):
    monkeypatch.setattr("matplotlib.animation.FFMpegWriter.isAvailable", lambda: False)
    (folder / "figures" / "animation.gif").unlink(missing_ok=True)
    with Image.open(animate(folder)) as film:
        assert film.n_frames == 21
        film.seek(0)
        first = np.asarray(film.convert("L"), float)
        film.seek(20)
        assert np.abs(np.asarray(film.convert("L"), float) - first).max() > 100
    assert "data:image/gif;base64," in write_page(folder).read_text()


def test_an_animation_of_a_plane_needs_fields_over_time(tmp_path):
    run(tmp_path, grid={"points": [12, 12], "extent": [[0, 1]] * 2}, fields=None)
    with pytest.raises(CaseError, match="an animation needs fields over time"):
        animate(tmp_path)


@pytest.mark.skipif(BROWSER is None, reason="no browser is installed")
def test_a_browser_shows_the_page_without_a_word(finished, tmp_path):
    (tmp_path / "home").mkdir()
    shown = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'home'}",
            f"--log-net-log={tmp_path / 'net.json'}",
            f"--screenshot={tmp_path / 'page.png'}",
            "--window-size=400,800",
            f"file://{finished / 'report.html'}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert shown.returncode == 0, shown.stderr
    assert "CONSOLE" not in shown.stderr
    events = json.loads((tmp_path / "net.json").read_text())["events"]
    asked = {event["params"]["url"] for event in events if "url" in event.get("params", {})}
    own = {url for url in asked if "google" not in url and "gvt1" not in url}
    assert all(url.startswith(("file:", "data:", "chrome")) for url in own), own
    with Image.open(tmp_path / "page.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 10

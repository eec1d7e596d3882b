"""Files of sessions, reports as pages, the scale of skin tones, and the folder of a Space."""

import itertools
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from skindiff.demo import pieces
from skindiff.demo.again import Again
from skindiff.demo.captions import caption, captions, shared_words
from skindiff.demo.compare_events import compared
from skindiff.demo.config import DemoConfig
from skindiff.demo.downloads import Result
from skindiff.demo.drawing import Picture, Progress
from skindiff.demo.events import DemoEvents
from skindiff.demo.fidelity import measured_kid
from skindiff.demo.files import APP, SessionFiles
from skindiff.demo.generator_cache import short_names
from skindiff.demo.photographs import PhotographError
from skindiff.demo.reports import EXAMPLE, EXAMPLE_NAME, PAGE, report_page
from skindiff.demo.settings import page_settings
from skindiff.demo.space import write_space
from skindiff.errors import RunFolderError
from skindiff.report.write import write_report
from tests.demo.conftest import write_run
from tests.report.test_write import small_report


def test_a_file_goes_with_the_last_session_that_has_it(tmp_path: Path):
    files = SessionFiles(tmp_path / "held")
    files.folder.mkdir()
    mine = Path(files.keep("ann", b"image", "a.png"))
    assert files.keep("bob", b"image", "a.png") == str(mine)
    other = Path(files.keep("ann", b"other", "a.png"))
    upload = files.folder / "raw" / "upload.jpg"
    upload.parent.mkdir()
    upload.write_bytes(b"raw")
    files.uploaded([str(upload)])
    assert files.claim("ann", str(upload)) == upload
    outside = tmp_path / "outside.txt"
    outside.write_text("stays")
    with pytest.raises(PhotographError, match="upload it again"):
        files.claim("ann", str(outside))
    with pytest.raises(PhotographError, match="upload it again"):
        files.claim("bob", str(upload))
    files.drop("bob", str(other))
    assert other.exists()
    files.release("ann")
    assert mine.read_bytes() == b"image"
    assert not other.exists()
    assert not upload.exists()
    assert outside.exists()
    files.release("bob")
    assert list(files.folder.iterdir()) == []
    own = Path(files.keep(APP, b"example", "a.png"))
    files.keep("ann", b"example", "a.png")
    assert files.is_page(files.keep(APP, b"<p>", "report.html"))
    assert not files.is_page(files.keep("app", b"<b>", "report.html"))  # a session may have any name
    assert own.stat().st_mtime > time.time() + 86_400  # Gradio deletes by age what is older than an hour


def test_the_scale_of_tones_and_the_line():
    def picture(skin_type: str | None, ita: float | None) -> Picture:
        return Picture(np.zeros((2, 2, 3), np.uint8), {"skin_type": skin_type}, ita)

    strip = pieces.ita_strip(picture(None, 30.0), [picture("I", 55.0), picture("VI", None)])
    assert "Generated at 2 x 2 pixels" in strip
    assert "ITA of the photograph 30°; transferred: I 55°; VI not measurable" in strip
    assert strip.count("<circle") == 2
    close = pieces.ita_strip(picture(None, 30.0), [picture(name, 30.0) for name in ("I", "II", "III")])
    named = [float(x) for x in re.findall(r'<text x="([\d.]+)" y="13"', close)]
    assert all(later - before >= 18 for before, later in itertools.pairwise(named))
    assert caption(picture("VI", -41.4)) == "type VI · ITA −41°"
    assert caption(picture(None, None)) == "ITA not measurable"
    line = pieces.status(Progress([picture(None, 1.0)], 4, "<b>"), 2.0)
    assert "1 of 4: &lt;b&gt; (2 s, about 6 s left)" in line
    assert "&lt;b&gt;" in pieces.failed("<b>", None)


def test_what_all_images_share_is_said_once():
    def picture(condition: str, skin_type: str, seed: int) -> Picture:
        row = {"condition": condition, "skin_type": skin_type, "request_seed": seed, "index": 0}
        return Picture(np.zeros((2, 2, 3), np.uint8), row, 10.0)

    types = [picture("ring", name, 5) for name in ("I", "II")]
    assert shared_words(types) == "ring · seed 5"
    assert captions(types) == ["type I · ITA 10°", "type II · ITA 10°"]
    assert caption(types[0]) == "type I · ring · ITA 10° · seed 5"
    seeds = [picture("ring", "I", seed) for seed in (5, 6)]
    assert shared_words(seeds) == "type I · ring"
    assert captions(seeds) == ["ITA 10° · seed 5", "ITA 10° · seed 6"]
    assert (shared_words([]), captions([])) == ("", [])


def test_the_kid_of_a_generator_is_that_of_a_run_which_measured_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    run = tmp_path / "measured"
    scores = {"kid": 0.01234, "kid_low": 0.01, "kid_high": 0.015}
    row = {"images": "lora", "seed": 0, "features": "lite0", "generated": 48, "scores": scores}
    origin = {"strategy": "lora", "seed": 0, "generator": "lora@abc", "drawn": 48}
    write_report(run, small_report())
    report = json.loads((run / "report.json").read_text())
    report |= {"fidelity": [row, {**row, "images": "real training"}], "synthesis": [origin]}
    (run / "report.json").write_text(json.dumps(report))
    (run / "files.json").unlink(missing_ok=True)
    runs = {"measured": str(run), "without": str(write_run(tmp_path / "without"))}
    assert measured_kid(runs, "lora@abc") == ["0.0123 [0.0100, 0.0150] (48 images, lite0, run measured)"]
    assert measured_kid(runs, "lora@other") == []
    (run / "report.json").write_text(json.dumps(report | {"fidelity": [{"images": 1}]}))
    assert measured_kid(runs, "lora@abc") == []
    assert "run measured: its fidelity is not shown" in caplog.text
    pictures = [Picture(np.zeros((2, 2, 3), np.uint8), {"skin_type": "V"}, 1.0)]
    names = {"bundled": "bundled", "lora": "runs/lora"}
    table = compared(names, [[], ["0.0123"]], pictures, pictures)
    assert re.findall("<td>(.*?)</td>", table) == ["1°", "not measured", "1°", "0.0123"]
    assert table.count("Where no KID was measured") == 1
    assert "Where no KID" not in compared(names, [["1"], ["2"]], pictures, pictures)


def test_it_is_said_how_alike_images_are_that_are_made_again():
    assert "same images, bit for bit; on" in pieces.again(Again("c", "p", 2, 2))
    other = pieces.again(Again("c", "p", 1, 2))
    assert "computes in 2 threads where this demo has 1, to within 2 of 255 levels" in other


def test_a_product_of_a_run_has_the_name_of_the_run(tmp_path: Path):
    """Every training calls its product adapter, so a comparison of two had one name twice."""
    for run in ("lora", "ti"):
        (tmp_path / run / "adapter").mkdir(parents=True)
    folders = [str(tmp_path / run / "adapter") for run in ("lora", "ti")]
    assert list(short_names(["bundled", *folders])) == ["bundled", "lora", "ti"]


@pytest.mark.slow
def test_a_space_is_ready_to_run(tmp_path: Path, generators: list[str]):
    run = write_run(tmp_path / "fitz")
    (run / "report.md").write_text("See /home/ann/secret/thing.png ![x](pictures/samples.png)")
    (run / "report.json").write_text('{"corpus": {"name": "phantom"}}')
    patients = write_run(tmp_path / "patients")
    (patients / "report.md").write_text("![x](pictures/samples.png) ![y](pictures/training.png)")
    Image.new("RGB", (8, 8)).save(patients / "pictures" / "training.png")
    offered = DemoConfig(generators=["bundled", generators[0]], runs=[str(run), str(patients)], port=None)
    place = write_space(tmp_path / "space", offered)
    head = yaml.safe_load((place / "README.md").read_text().split("---")[1])
    assert (head["sdk"], head["app_file"]) == ("gradio", "app.py")
    assert "Not for clinical use" in (place / "README.md").read_text()
    assert "license" not in head  # that of the generators is not known here
    assert "that all of them allow" in (place / "README.md").read_text()
    wanted = (place / "requirements.txt").read_text().splitlines()
    assert any(line.startswith("diffusers") for line in wanted)
    assert not any(line.startswith(("gradio", "skindiff", "pytest")) for line in wanted)
    code = (
        "import app, skindiff, pathlib; app.CONFIG.validate(); "
        "assert pathlib.Path(skindiff.__file__).parent.parent == pathlib.Path.cwd(); "
        "print(app.CONFIG.open_choice, app.CONFIG.host, app.CONFIG.generators)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=place, capture_output=True, text=True, check=True
    ).stdout
    assert said.split() == ["False", "0.0.0.0", "['bundled',", "'generators/tiny']"]
    assert (place / "generators" / "tiny" / "model_index.json").is_file()
    assert "secret" not in (place / "runs" / "fitz" / "report.md").read_text()
    assert Image.open(place / "runs" / "fitz" / "pictures" / "samples.png").size == (8, 8)
    assert [path.name for path in (place / "runs" / "patients" / "pictures").iterdir()] == ["training.png"]
    assert not any(path.is_symlink() or path.name == "__pycache__" for path in place.rglob("*"))
    with pytest.raises(RunFolderError, match="not empty"):
        write_space(place)
    own = write_space(tmp_path / "own")
    assert yaml.safe_load((own / "README.md").read_text().split("---")[1])["license"] == "apache-2.0"


def test_a_demo_without_runs_opens_on_a_study_of_computed_images(tmp_path: Path):
    events = DemoEvents(DemoConfig(), SessionFiles(tmp_path / "held"))
    assert list(events.runs) == [EXAMPLE_NAME]
    page = report_page(Path(events.runs[EXAMPLE_NAME]))
    assert "images computed by a program, of no patient" in page
    assert "points of balanced accuracy on" in page
    assert "data:image/png;base64," in page
    place = write_space(tmp_path / "space")
    assert (
        place / "skindiff" / EXAMPLE.relative_to(Path(pieces.__file__).parents[1]) / PAGE
    ).read_text() == page


def test_cancelling_before_anything_is_there_says_so_and_offers_nothing(tmp_path: Path):
    """After an earlier result its download stayed enabled, and a click did nothing."""
    events = DemoEvents(DemoConfig(), SessionFiles(tmp_path / "held"))
    visitor: Any = SimpleNamespace(session_hash="ann", query_params={})
    picture = Picture(np.zeros((2, 2, 3), np.uint8), {"skin_type": "V"}, None)
    events.visits.of("ann").results["generate"] = Result(page_settings("generate"), [picture], 1)
    gallery, download, cancel = events.begin("generate")(visitor)
    assert (gallery, download["interactive"], cancel["interactive"]) == ([], False, True)
    line, download, cancel = events.stop("generate", cancelled=True)(visitor)
    assert "Nothing was generated yet." in line
    assert (download["interactive"], download["value"], cancel["interactive"]) == (False, None, False)


def test_a_run_of_ones_own_takes_the_place_of_the_example(tmp_path: Path):
    run = write_run(tmp_path / "mine")
    assert list(DemoEvents(DemoConfig(runs=[str(run)]), SessionFiles(tmp_path / "held")).runs) == ["mine"]


def test_a_generator_that_a_file_names_is_not_loaded_before_a_button_is_pressed(tmp_path: Path):
    events = DemoEvents(DemoConfig(), SessionFiles(tmp_path / "held"))

    def describe(*values: str) -> tuple[str, ...]:
        return (*values, "what it is")

    skipped, _, said = events.described("generate", describe, ("stranger/model", "eczema", "V"))
    assert "is said here when it is chosen or used" in said
    assert "value" not in skipped
    assert list(events.cache._loaded) == []
    known = events.described("generate", describe, ("bundled", "eczema", "V"))
    assert known == ("bundled", "eczema", "V")

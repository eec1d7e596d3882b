"""The demo over HTTP, as gradio_client sees it."""

import csv
import html
import io
import json
import re
import shlex
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from skindiff.demo.app import DemoApp, launch_demo
from skindiff.demo.config import DemoConfig
from skindiff.demo.downloads import Result
from skindiff.demo.events import DemoEvents
from skindiff.demo.files import SessionFiles
from skindiff.demo.settings import page_settings, settings_bytes
from skindiff.demo.visit_events import VisitEvents
from skindiff.demo.words import ALL
from skindiff.synthesis.writer import load_synthetic
from tests.commands.conftest import Run, run_command
from tests.demo.conftest import files_in

__all__ = ["run_command"]


@pytest.fixture
def client(demo: DemoApp, tmp_path: Path) -> Iterator[Client]:
    found = Client(demo.local_url, verbose=False, download_files=str(tmp_path / "got"))
    yield found
    found.close()


def drawn(client: Client, **settings: object) -> tuple:
    given = {
        "generator": "tiny",
        "condition": "eczema",
        "skin_type": "V",
        "count": 3,
        "guidance": 2,
        "steps": 3,
        "seed": 1,
    }
    return client.predict(**(given | settings), api_name="/draw")


def pixels_of(gallery: list[dict]) -> list[np.ndarray]:
    return [np.array(Image.open(item["image"])) for item in gallery]


def test_draw_gives_images_and_a_zip_of_their_provenance(client: Client):
    gallery, download, line, again = drawn(client)
    assert len(gallery) == 3
    # Type and condition are the same in all, and stand over the gallery.
    said = [re.fullmatch(r"ITA .* · (seed \d)", item["caption"])[1] for item in gallery]
    assert said == ["seed 1", "seed 2", "seed 3"]
    assert "3 images" in line
    assert "skindiff sample" in again
    archive = zipfile.ZipFile(download)
    rows = list(csv.DictReader(io.StringIO(archive.read("provenance.csv").decode())))
    assert [row["skin_type"] for row in rows] == ["V"] * 3
    assert rows[0]["generator"].startswith("tiny@")
    saved = [np.array(Image.open(io.BytesIO(archive.read(row["file"])))) for row in rows]
    assert all((one == other).all() for one, other in zip(saved, pixels_of(gallery), strict=True))
    again, *_ = drawn(client)
    assert all((one == other).all() for one, other in zip(pixels_of(again), saved, strict=True))
    other, *_ = drawn(client, seed=2)
    assert (pixels_of(other)[0] != saved[0]).any()


def test_every_condition_on_every_type_from_one_seed(client: Client):
    gallery, download, *_ = drawn(client, condition="(all)", skin_type="(all)", count=1, steps=2)
    asked = [item["caption"].split(" · ")[:2] for item in gallery]
    assert not any("seed" in item["caption"] for item in gallery)
    types = [f"type {name}" for name in ("I", "II", "III", "IV", "V", "VI")]
    assert asked == [[name, words] for words in ("red lesion", "eczema") for name in types]
    rows = list(csv.DictReader(io.StringIO(zipfile.ZipFile(download).read("provenance.csv").decode())))
    assert len({row["seed"] for row in rows}) == 1


def test_classes_of_a_from_scratch_generator(client: Client):
    gallery, *_ = drawn(client, generator="ddpm", condition="two", skin_type="any")
    assert len(gallery) == 3
    with pytest.raises(AppError, match="knows no skin types"):
        drawn(client, generator="ddpm", condition="two")
    with pytest.raises(AppError, match="choose from one, two"):
        drawn(client, generator="ddpm", condition="three", skin_type="any")
    condition, skin_type, about = client.predict("ddpm", "eczema", "V", api_name="/describe")
    assert [name for _, name in condition["choices"]] == ["(all)", "one", "two"]
    assert condition["value"] == "one"
    assert not skin_type["interactive"]
    assert "ddpm trained from scratch" in about
    assert "It knows one, two." in about


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"count": 400}, "Images of each.*400 is outside"),
        ({"steps": 10_000}, "Steps: 10000 is outside"),
        ({"seed": -1}, "seed: '-1' is no whole number"),
        ({"seed": "1.5"}, "seed: '1.5' is no whole number"),
        ({"skin_type": "(all)", "count": 40}, "images: 240 in all are outside"),
        ({"skin_type": "VII"}, "skin type 'VII' is none|not in the list"),
        ({"condition": "x" * 500}, "1 to 80 characters"),
        ({"generator": "/etc"}, "Value|not offered"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_words(client: Client, settings: dict, said: str):
    with pytest.raises(AppError, match=said):
        drawn(client, **settings)


def redrawn(client: Client, photograph: Path, **settings: object) -> tuple:
    given = {
        "photograph": handle_file(str(photograph)),
        "generator": "tiny",
        "condition": "eczema",
        "skin_type": "any",
        "target": "(all)",
        "strength": 0.5,
        "guidance": 2,
        "steps": 4,
        "seed": 0,
        "tone": "prototype_colour",
    }
    return client.predict(**(given | settings), api_name="/transfer")


def test_a_photograph_is_redrawn_on_six_skin_types(client: Client, photograph: Path):
    gallery, strip, download, line = redrawn(client, photograph)[:4]
    assert [item["caption"].split(" ")[1] for item in gallery] == ["I", "II", "III", "IV", "V", "VI"]
    assert all("structure kept" in item["caption"] for item in gallery)
    assert "Generated at 32 x 32 pixels" in strip
    assert "ITA of the photograph" in strip
    assert "6 images" in line
    content = Path(download).read_bytes()
    assert b"Smith" not in content
    assert b"SECRET" not in content
    rows = list(csv.DictReader(io.StringIO(zipfile.ZipFile(download).read("provenance.csv").decode())))
    assert {row["source_id"] for row in rows} == {rows[0]["source_id"]}
    assert rows[0]["source_id"].startswith("upload-")
    assert rows[0]["strength"] == "0.5"


def test_the_checked_photograph_has_no_metadata(client: Client, photograph: Path):
    clean, line = client.predict(handle_file(str(photograph)), api_name="/check_photograph")
    content = Path(clean).read_bytes()
    assert b"SECRET" not in content
    assert b"Exif" not in content
    assert "96 x 96" in line
    assert Image.open(clean).size == (96, 96)


def test_bad_photographs_are_refused_in_words(client: Client, corrupt: Path, oversized: Path, tmp_path: Path):
    with pytest.raises(AppError, match="damaged"):
        redrawn(client, corrupt)
    clean, line = client.predict(handle_file(str(corrupt)), api_name="/check_photograph")
    assert clean is None
    assert "damaged" in line
    note = tmp_path / "note.jpg"
    note.write_text("no image")
    with pytest.raises(AppError, match="JPEG, PNG or WebP"):
        redrawn(client, note)
    wide = tmp_path / "wide.png"
    Image.new("L", (4000, 1000)).save(wide)
    with pytest.raises(AppError, match=r"4000 x 1000 pixels.*1 million"):
        redrawn(client, wide)
    with pytest.raises(Exception, match=r"(?i)size|413|large"):
        redrawn(client, oversized)


def test_two_generators_on_the_same_seeds(client: Client):
    rows, table, download, _ = client.predict(
        "tiny", "other", "eczema", "II", 2, 2, 3, 5, api_name="/compare"
    )
    assert [item["caption"].split(" · ")[0] for item in rows][:2] == ["tiny", "other"]
    left, right, between = (image.astype(int) for image in pixels_of(rows)[:3])
    assert (np.minimum(5 * abs(left - right), 255) == between).all()
    assert "shown × 5" in rows[2]["caption"]
    assert between.any()
    assert re.findall('<th scope="row" title="(.*?)">(.*?)</th>', table) == [("tiny",) * 2, ("other",) * 2]
    with pytest.raises(AppError, match="second generator: 'tiny' is the first one too"):
        client.predict("tiny", "tiny", "eczema", "II", 2, 2, 3, 5, api_name="/compare")
    rows = list(csv.DictReader(io.StringIO(zipfile.ZipFile(download).read("provenance.csv").decode())))
    assert [row["generator"].split("@")[0] for row in rows] == ["tiny", "tiny", "other", "other"]
    assert rows[0]["seed"] == rows[2]["seed"] != rows[1]["seed"]


def test_both_generators_are_judged_before_anything_is_drawn(generators: list[str], tmp_path: Path):
    config = DemoConfig(generators=generators, conditions=["eczema"], port=None, threads=1)
    app = launch_demo(config, wait=False)
    client = Client(app.local_url, verbose=False)
    job = client.submit("tiny", str(tmp_path), "eczema", "II", 2, 2, 3, 5, api_name="/compare")
    with pytest.raises(AppError, match=f"^second generator '{tmp_path}': model .* is no generator"):
        job.result()
    assert [rows for rows, *_ in job.outputs() if rows] == []
    with pytest.raises(AppError, match=f"^first generator '{tmp_path}': model .* is no generator"):
        client.predict(str(tmp_path), "tiny", "eczema", "II", 2, 2, 3, 5, api_name="/compare")
    client.close()
    app.close(verbose=False)


def test_the_page_says_which_generator_was_never_taught_a_word(tmp_path: Path, generators: list[str]):
    config = DemoConfig(generators=["bundled", generators[0]], port=None)
    events = DemoEvents(config, SessionFiles(tmp_path))
    typed = str(tmp_path / "runs" / "lora")
    asked = {"condition": "red psoriasis", "generator": "bundled", "second": typed}
    loaded = SimpleNamespace(place=SimpleNamespace(model="bundled"), adapter=None)
    other = SimpleNamespace(place=SimpleNamespace(model="elsewhere"), adapter=None)
    found = {"bundled": SimpleNamespace(generator=loaded), typed: SimpleNamespace(generator=other)}
    events.cache = SimpleNamespace(generator=found.__getitem__)
    never = "was never taught 'psoriasis': what it shows for it means nothing."
    assert events.note(Result(page_settings("compare", **asked))) == f"The first generator, bundled, {never}"
    turned = asked | {"generator": typed, "second": "bundled"}
    assert (
        events.note(Result(page_settings("compare", **turned))) == f"The second generator, bundled, {never}"
    )
    assert events.note(Result(page_settings("generate", **asked))) == f"This generator {never}"
    assert events.note(Result(page_settings("compare", **asked | {"condition": "red patch"}))) == ""


def test_a_photograph_goes_to_one_type_at_one_strength_and_to_several(client: Client, photograph: Path):
    gallery, *_, choice = redrawn(client, photograph, target="V (one strength)", strength=0.45)
    assert len(gallery) == 1
    assert choice["choices"] == [["V", 0]]
    gallery, *_, choice = redrawn(client, photograph, target="V", steps=7)
    assert [name for name, _ in choice["choices"]] == ["0.15", "0.3", "0.45", "0.6", "0.8"]


def test_generators_that_would_make_unequal_numbers_are_not_compared(client: Client):
    job = client.submit("tiny", "ddpm", "one", ALL, 2, 2, 3, "5", api_name="/compare")
    with pytest.raises(AppError, match=r"would make 12 images and the second 2, .* Choose one type"):
        job.result()
    assert [rows for rows, *_ in job.outputs() if rows] == []


def test_the_report_of_a_run_is_its_own_page_in_a_frame_without_rights(demo: DemoApp, client: Client):
    frame, download = client.predict("made_up", api_name="/report")
    assert '<iframe class="sd-report" sandbox ' in frame
    page = Path(download).read_text()
    assert "A made-up run" in page
    with httpx.Client(base_url=demo.local_url, timeout=60) as web:
        got = web.get(re.search('src="([^"]*)"', frame)[1])
        theirs = web.post("gradio_api/upload", files={"files": ("report.html", page)}).json()[0]
        uploaded = web.get(f"gradio_api/file={theirs}")
    assert got.text == page
    assert got.headers["content-type"].startswith("text/html")
    policy = got.headers["content-security-policy"]
    assert all(rule in policy for rule in ("sandbox;", "default-src 'none'", "frame-ancestors 'self'"))
    assert not uploaded.headers["content-type"].startswith("text/html")  # what visitors send is no page


def test_a_photograph_without_skin_is_said_to_have_none(client: Client, tmp_path: Path):
    green = tmp_path / "green.png"
    Image.new("RGB", (60, 60), (20, 160, 40)).save(green)
    _, line = client.predict(handle_file(str(green)), api_name="/check_photograph")
    assert "No skin was found" in line
    line = redrawn(client, green, target="V (one strength)")[3]
    assert "1 image in" in line
    assert "No skin was found" in line


def test_several_strengths_of_one_type_side_by_side(client: Client, photograph: Path):
    gallery, _, download, _ = redrawn(client, photograph, target="V", steps=8)[:4]
    assert [re.search(r"strength ([\d.]+)", item["caption"])[1] for item in gallery] == [
        "0.15", "0.3", "0.45", "0.6", "0.8",
    ]  # fmt: skip
    names = zipfile.ZipFile(download).namelist()
    assert {"photograph/original.png", "corpus.yaml", "generated-from-32px.png", "contact-sheet.png"} <= set(
        names
    )
    assert sum(name.startswith("skin/") for name in names) == 6
    assert "images/001-eczema-type-v-strength-015-seed-0.png" in names


def test_a_transfer_is_made_again_from_its_zip(
    demo: DemoApp,
    client: Client,
    photograph: Path,
    tmp_path: Path,
    run_command: Run,
    monkeypatch: pytest.MonkeyPatch,
):
    _, strip, download, *_ = redrawn(client, photograph, skin_type="II")
    archive = zipfile.ZipFile(download)
    archive.extractall(tmp_path / "zip")
    monkeypatch.chdir(tmp_path / "zip")
    python = html.unescape(re.search('sd-python">(.*?)</pre>', strip, re.DOTALL)[1])
    known: dict = {}
    exec(python.replace("FOLDER/tiny", demo.cache.offered["tiny"]), known)
    names = [name for name in archive.namelist() if name.startswith("images/")]
    for name, image in zip(names, known["made"], strict=True):
        assert (np.array(image) == np.array(Image.open(name))).all()
    shown = html.unescape(re.search('sd-command">(.*?)</pre>', strip, re.DOTALL)[1])
    assert shown.startswith("for type in I II III IV V VI; do for strength in 0.5; do\n")
    line = shown.splitlines()[1].replace("FOLDER/tiny", demo.cache.offered["tiny"])
    run_command(*shlex.split(line.replace("$type", "VI").replace("$strength", "0.5"))[1:])
    made = load_synthetic(tmp_path / "zip" / "runs" / "again" / "VI-0.5" / "data")
    assert (np.array(made[0]["image"]) == np.array(Image.open(names[5]))).all()
    assert "the same images, bit for bit; on another" in strip


def test_settings_of_strangers_are_refused(client: Client, tmp_path: Path):
    good = page_settings("generate", condition="eczema", skin_type="V", seed="9223372036854775807")
    path = tmp_path / "settings.json"
    path.write_bytes(settings_bytes(good))
    fields = client.predict(handle_file(str(path)), api_name="/load_generate")
    assert fields[-1] == "9223372036854775807"
    for content, said in (
        (b"x" * 30_000, "at most 20,000 are read"),
        (b"{", "no JSON"),
        (b"[1]", "none of this demo"),
        (json.dumps({**good, "seed": 5}).encode(), "seed is not text"),
        (json.dumps({**good, "page": "compare"}).encode(), "they are of the page compare"),
        (json.dumps({**good, "condition": "x" * 400}).encode(), "a word is too long"),
        (json.dumps({**good, "tone": "magic"}).encode(), "tone is none of"),
    ):
        path.write_bytes(content)
        with pytest.raises(AppError, match=said):
            client.predict(handle_file(str(path)), api_name="/load_generate")


def test_one_seed_gives_one_image_by_the_page_the_command_and_python(
    tmp_path: Path, run_command: Run, monkeypatch: pytest.MonkeyPatch, generators: list[str]
):
    """From a downloaded zip: its settings loaded into the page, and the command and Python that it shows."""
    app = launch_demo(DemoConfig(["bundled", generators[0]], port=None), wait=False)
    client = Client(app.local_url, verbose=False, download_files=str(tmp_path / "got"))
    visitor: Any = SimpleNamespace(session_hash="first", query_params={})
    opened, download, line, _ = app.opening.drawn(visitor)  # the page opens on finished images
    assert [caption.split(" ")[1] for _, caption in opened] == ["I", "II", "III", "IV", "V", "VI"]
    assert download["interactive"]
    assert "An example:" in line
    rows, table, download, line, second, *asked = app.opening.compared(visitor)  # where there is a second
    assert "A model of text to image: 32 x 32 pixels" in second
    assert len(rows) % 3 == 0
    assert len(rows) > 0
    assert "<table" in table
    assert download["interactive"]
    assert "An example:" in line
    visits = VisitEvents(app.opening.events)
    for page in ("generate", "compare"):
        (remembered,) = visits.history(page)(visitor)
        assert Path(remembered[0]).is_file()
        fields = visits.revisit(page, "as they were")(SimpleNamespace(index=0), visitor)
        assert fields[0] == "bundled"
        assert "as they were" in fields[-1]
    assert list(fields[2:4]) == asked  # the form beside the example says what the example is of
    seed = 9223372036854775801  # a browser's number would round it
    first = client.predict("bundled", "red patch", "II", 2, 2, 3, str(seed), api_name="/draw")
    archive = zipfile.ZipFile(first[1])
    (tmp_path / "settings.json").write_bytes(archive.read("settings.json"))
    rows = list(csv.DictReader(io.StringIO(archive.read("provenance.csv").decode())))
    saved = [np.array(Image.open(io.BytesIO(archive.read(row["file"])))) for row in rows]
    assert {row["request_seed"] for row in rows} == {str(seed)}
    indices = json.loads(archive.read("settings.json"))["indices"]
    assert [row["index"] for row in rows] == [str(index) for index in indices]
    fields = client.predict(handle_file(str(tmp_path / "settings.json")), api_name="/load_generate")
    by_page = pixels_of(client.predict(*fields, api_name="/draw")[0])
    client.close()
    app.close(verbose=False)

    command = html.unescape(re.search('sd-command">(.*?)</pre>', first[3], re.DOTALL)[1])
    monkeypatch.chdir(tmp_path)
    run_command(*shlex.split(command)[1:])
    made = load_synthetic(tmp_path / "runs" / "again" / "data")
    python = html.unescape(re.search('sd-python">(.*?)</pre>', first[3], re.DOTALL)[1])
    known: dict = {}
    exec(python, known)
    for number, image in enumerate(saved):
        assert (by_page[number] == image).all()
        assert (np.array(made[number]["image"]) == image).all()
        assert (np.array(known["made"].dataset[number]["image"]) == image).all()


def test_another_demo_of_the_process_takes_no_files(demo: DemoApp, client: Client, generators: list[str]):
    other = launch_demo(DemoConfig(generators=generators[:1], port=None, threads=1), wait=False)
    other.close(verbose=False)
    begin = next(number for number, one in demo.fns.items() if getattr(one.fn, "__name__", "") == "begun")
    asked = {"data": [], "fn_index": begin, "session_hash": client.session_hash}  # as the page does
    httpx.post(f"{demo.local_url}gradio_api/run/predict", json=asked).raise_for_status()
    gallery, download, *_ = drawn(client)  # the client fetches what it is given
    assert Path(download).is_file()
    assert len(pixels_of(gallery)) == 3
    assert not other.folder.exists()


def test_no_other_file_of_the_machine_is_served(demo: DemoApp, photograph: Path):
    with httpx.Client(base_url=demo.local_url, timeout=60) as web:
        for path in ("/etc/passwd", str(Path("README.md").resolve()), str(photograph), str(demo.folder)):
            assert web.get(f"gradio_api/file={path}").status_code in (403, 404)
        answer = asked(web, "check_photograph", {"path": "http://127.0.0.1:1/x.png", **META})
        assert "event: error" in answer
        assert "as a file" in answer


META = {"meta": {"_type": "gradio.FileData"}}


def asked(web: httpx.Client, call: str, photograph: dict, **more: object) -> str:
    """Return what the server says to a photograph given as raw JSON, as no well-meaning client gives it."""
    settings = {
        "check_photograph": [],
        "transfer": ["tiny", "eczema", "any", "(all)", 0.5, 2, 2, "0", "none"],
    }[call]
    path = f"gradio_api/call/{call}"
    event = web.post(path, json={"data": [photograph, *settings], **more}).json()["event_id"]
    return web.get(f"{path}/{event}").text


def upload(web: httpx.Client, photograph: Path) -> str:
    return web.post("gradio_api/upload", files={"files": photograph.read_bytes()}).json()[0]


@pytest.mark.parametrize("call", ["check_photograph", "transfer"])
@pytest.mark.parametrize("more", [{}, META], ids=["without_meta", "with_meta"])
def test_no_path_but_ones_own_upload_is_read(demo: DemoApp, photograph: Path, call: str, more: dict):
    link = demo.folder / f"{call}-{len(more)}.jpg"
    link.symlink_to(photograph)
    with httpx.Client(base_url=demo.local_url, timeout=60) as web:
        theirs = upload(web, photograph)
        mine = {"path": theirs, **META}
        assert "96 x 96" in asked(web, "check_photograph", mine, session_hash="ann")
        shown = next(
            path for path in files_in(demo.folder) if path.name == "photograph.png"
        )  # what ann was given back
        paths = [
            photograph,
            photograph.with_name("absent.jpg"),
            "/etc/passwd",
            link,
            demo.folder / "absent" / "photograph.jpg",
            f"{demo.folder}/../{photograph.name}",
            shown,
            f"{photograph}\0.jpg",
            "x" * 5000,
        ]
        answers = {asked(web, call, {"path": str(path), **more}, session_hash="bob") for path in paths}
    link.unlink()
    assert len(answers) == 1, "the answer tells which paths exist"
    answer = answers.pop()
    assert "no longer here" in answer
    assert "96 x 96" not in answer
    assert ".png" not in answer


def test_two_visitors_may_send_the_same_photograph(demo: DemoApp, photograph: Path):
    with httpx.Client(base_url=demo.local_url, timeout=60) as web:
        paths = [upload(web, photograph) for _ in range(2)]
        for path, session in zip(paths, ("cid", "dan"), strict=True):
            said = asked(web, "check_photograph", {"path": path, **META}, session_hash=session)
            assert "96 x 96" in said
        assert "no longer here" in asked(web, "check_photograph", {"path": paths[0], **META})


def test_nothing_of_a_session_is_kept_when_it_ends(demo: DemoApp, photograph: Path, tmp_path: Path):
    client = Client(demo.local_url, verbose=False, download_files=str(tmp_path / "got"))
    # Others of these tests send that photograph and claim it never, so that it stays for them.
    mine = tmp_path / "IMG_of_patient_Jones.jpg"
    Image.open(photograph).transpose(Image.Transpose.ROTATE_90).save(mine)
    redrawn(client, mine, seed=77)

    def own() -> list[Path]:
        return [path for path in files_in(demo.folder) if path.match("*-77.png") or "Jones" in path.name]

    assert len(own()) > 7
    client.close()
    for _ in range(120):
        if not own():
            return
        time.sleep(0.5)
    raise AssertionError(own())


def test_cancelling_stops_after_the_batch_at_work(client: Client):
    job = client.submit("tiny", "eczema", "V", 12, 2, 24, 3, api_name="/draw")
    while len(job.outputs()) < 3:
        time.sleep(0.05)
    job.cancel()
    time.sleep(1)
    assert len(job.outputs()[-1][0]) < 12
    assert len(drawn(client)[0]) == 3

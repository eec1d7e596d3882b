"""The demo over HTTP, as gradio_client sees it."""

import csv
import io
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from skindiff.demo.app import DemoApp


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
    gallery, download, line = drawn(client)
    assert len(gallery) == 3
    assert all(item["caption"].startswith("V · ITA") for item in gallery)
    assert "3 images" in line
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


def test_classes_of_a_from_scratch_generator(client: Client):
    gallery, *_ = drawn(client, generator="ddpm", condition="two", skin_type="any")
    assert len(gallery) == 3
    with pytest.raises(AppError, match="knows no skin types"):
        drawn(client, generator="ddpm", condition="two")
    with pytest.raises(AppError, match="choose from one, two"):
        drawn(client, generator="ddpm", condition="three", skin_type="any")
    condition, skin_type = client.predict("ddpm", "V", api_name="/describe")
    assert [name for name, _ in condition["choices"]] == ["one", "two"]
    assert not skin_type["interactive"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"count": 400}, "maximum|outside"),
        ({"steps": 10_000}, "maximum|outside"),
        ({"seed": -1}, "minimum|outside"),
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
        "strength": 0.5,
        "guidance": 2,
        "steps": 4,
        "seed": 0,
        "tone": "prototype_colour",
    }
    return client.predict(**(given | settings), api_name="/transfer")


def test_a_photograph_is_redrawn_on_six_skin_types(client: Client, photograph: Path):
    gallery, strip, download, line = redrawn(client, photograph)[:4]
    assert [item["caption"].split(" ")[0] for item in gallery] == ["I", "II", "III", "IV", "V", "VI"]
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
    first, second, download, _ = client.predict(
        "tiny", "other", "eczema", "II", 2, 2, 3, 5, api_name="/compare"
    )
    assert len(first) == len(second) == 2
    assert (pixels_of(first)[0] != pixels_of(second)[0]).any()
    rows = list(csv.DictReader(io.StringIO(zipfile.ZipFile(download).read("provenance.csv").decode())))
    assert [row["generator"].split("@")[0] for row in rows] == ["tiny", "tiny", "other", "other"]
    assert rows[0]["seed"] == rows[2]["seed"] != rows[1]["seed"]


def test_the_report_of_a_run(client: Client):
    page = client.predict("made_up", api_name="/report")
    assert "A made-up run" in page
    assert "data:image/png;base64," in page
    assert "<script>" not in page


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
    settings = {"check_photograph": [], "transfer": ["tiny", "eczema", "any", 0.5, 2, 2, 0, "none"]}[call]
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
        shown = next(path for path in demo.folder.rglob("photograph.png"))  # what ann was given back
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
    redrawn(client, photograph, seed=77)

    def own() -> list[Path]:
        return [*demo.folder.rglob("*-77.png"), *demo.folder.rglob("*Smith*")]

    assert len(own()) == 7
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

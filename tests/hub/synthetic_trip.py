"""Synthetic data sets: pushed as shards, loaded by ``datasets``, and compared by rows and pixels."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from accelerate import Accelerator
from huggingface_hub import DatasetCard
from PIL import Image

from skindiff.measures.copying.memorisation import near_copies
from skindiff.synthesis.config import SynthesisConfig
from skindiff.synthesis.plan import make_plan
from skindiff.synthesis.writer import load_synthetic, write_synthetic
from tests.hub.server import Hub
from tests.tiny import tiny_corpus, tiny_pipeline

IDS = ("image_id", "source_id", "group_id")
PUSH = """
    from skindiff.errors import HubError
    from skindiff.hub.origin import Origin
    from skindiff.hub.synthetic import push_synthetic

    def refused(**options):
        try:
            push_synthetic("set", "me/refused", licence="cc-by-nc-4.0", origin=own, **options)
        except HubError as error:
            print(error)

    own = Origin(["imagefolder"], corpus_licence="cc-by-nc-4.0", base_model="me/base", base_licence="mit")
    made = Origin(["phantom"], base_licence="mit")
    push_synthetic("phantom", "me/phantom-set", licence="cc-by-4.0", origin=made, override=WORDS)
    refused()
    refused(override="yes")
    kept = push_synthetic("set", "me/set", licence="cc-by-nc-4.0", origin=own, override=WORDS)
    few = push_synthetic("set", "me/few", licence="cc-by-nc-4.0", origin=own, leave_out_copies=True)
    again = push_synthetic("set", "me/set", licence="cc-by-nc-4.0", origin=own, override=WORDS)
    assert kept == again, (kept, again)
    import shutil
    shutil.copytree("set", "unreported")
    import pathlib
    pathlib.Path("unreported/near_copies.json").unlink()
    try:
        push_synthetic("unreported", "me/refused", licence="cc-by-nc-4.0", origin=own)
    except HubError as error:
        print(error)
""".replace("WORDS", '"the people shown agreed to it"')
LOAD = """
    import json
    import numpy as np
    from datasets import load_dataset
    from skindiff.hub.load import load_synthetic

    for name in ("set", "phantom-set", "few"):
        loaded = load_dataset(f"me/{name}", split="train")
        rows = [{key: value for key, value in row.items() if key != "image"} for row in loaded]
        np.save(f"{name}.npy", np.stack([np.asarray(image) for image in loaded["image"]]))
        json.dump([loaded.features["label"].names, rows], open(f"{name}.json", "w"))
    assert load_synthetic("me/set").to_dict() == load_dataset("me/set", split="train").to_dict()
    run_the_card("me/set", repo_type="dataset")
"""


def build(folder: Path) -> None:
    """Draw a data set by img2img from photographs with telling names, and a like one from computed images."""
    corpus = tiny_corpus(rows=6)
    photographs = corpus.remove_columns(["image_id", "group_id"])
    photographs = photographs.add_column("image_id", [f"clinic/smith-{row}.jpg" for row in range(6)])
    photographs = photographs.add_column("group_id", [f"smith-{row // 2}" for row in range(6)])
    photographs = photographs.cast(corpus.features)
    config = SynthesisConfig(images_per_source=2, strategy="vanilla", steps=4, strength=0.5, batch_size=4)
    for name, sources in (("set", photographs), ("phantom", corpus)):
        pipeline = tiny_pipeline()
        plan = make_plan(sources, config, seed=1, generator="me/base@main")
        write_synthetic(Accelerator(cpu=True), plan, pipeline, sources, folder / name, rows_per_shard=8)
        drawn = load_synthetic(folder / name)
        report = near_copies(drawn, sources)
        # The tiny pipeline draws noise; a threshold between its images lets some of them be copies.
        middle = float(np.median([row.similarity for row in report.rows]))
        replace(report, threshold=middle).save(folder / name)


def check(hub: Hub, folder: Path, said: list[str]) -> None:
    """See that rows and pixels came back, and that no name of a photograph went."""
    gate, words, unreported = said
    assert gate.startswith("near copies: 6 of 12 images show a source")
    assert "of group smith-" in gate
    assert "override: 'yes' gives no reason" in words
    assert unreported.startswith("near copies: these images were made from others, and no report")
    assert "me/refused" not in hub.repositories.names()
    local = load_synthetic(folder / "set")
    names, rows = json.loads((folder / "set.json").read_text())
    pixels = np.stack([np.asarray(image) for image in local["image"]])
    np.testing.assert_array_equal(np.load(folder / "set.npy"), pixels)
    assert names == local.features["label"].names
    assert list(rows[0]) == [name for name in local.column_names if name != "image"]
    for mine, theirs in zip(local, rows, strict=True):
        assert {key: theirs[key] for key in theirs if key not in IDS} == {
            key: value for key, value in mine.items() if key not in (*IDS, "image")
        } | {"corpus": "imagefolder"}  # one's own, which is called by its folder at home
    assert [row["image_id"] for row in rows] == [f"image-{row:06d}" for row in range(12)]
    assert [row["source_id"] for row in rows] == [f"source-{row // 2:06d}" for row in range(12)]
    assert [row["group_id"] for row in rows] == [f"group-{row // 4:06d}" for row in range(12)]
    _, kept = json.loads((folder / "phantom-set.json").read_text())
    assert [row["source_id"] for row in kept] == load_synthetic(folder / "phantom")["source_id"]
    assert len(json.loads((folder / "few.json").read_text())[1]) == 6
    for name in ("me/set", "me/few"):
        _check_files(hub.files("dataset", name))


def _check_files(files: dict[str, bytes]) -> None:
    assert sorted(files) == ["README.md", "data/train-00000-of-00001.parquet", "near_copies.json"]
    assert not any(b"smith" in content for content in files.values())
    table = pq.read_table(io.BytesIO(files["data/train-00000-of-00001.parquet"]))
    assert set(table.schema.metadata) == {b"huggingface"}
    for image in table["image"].to_pylist():
        assert image["path"].startswith("image-")
        with Image.open(io.BytesIO(image["bytes"])) as opened:
            assert opened.info == {}
    card = DatasetCard(files["README.md"].decode())
    assert card.data.license == "cc-by-nc-4.0"
    assert card.data.configs[0]["data_files"] == [{"split": "train", "path": "data/train-*"}]
    assert "| class | V | VI |" in card.text
    assert "Near copies of sources" in card.text
    report = json.loads(files["near_copies.json"])
    assert report["rows"][0]["nearest_group"].startswith("group-")
    assert ("agreed to it" in card.text) == (report["near_copies"] > 0)

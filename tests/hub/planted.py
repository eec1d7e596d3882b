"""Artefacts and a run of photographs, a private word wherever one can be, and a search for it in bytes."""

import io
import json
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
import yaml
from datasets import Dataset, Features, Image
from PIL import Image as Pillow
from PIL import PngImagePlugin
from safetensors.torch import load_file, save_file

from skindiff.classification.networks import Architecture, build_classifier, save_classifier
from skindiff.corpora.imagefolder import ImageFolderConfig, load_imagefolder
from skindiff.manifest import hashes_of
from skindiff.measures.copying.near_copies import NearCopies, Nearest, fingerprint
from skindiff.report.write import write_report
from skindiff.synthesis.plan import plan_features
from tests.conftest import REPOSITORY
from tests.report.test_write import small_report

MARK = "zqmark"
"""In every private word: of patients, folders, files, columns, comments, logs."""
CLASSES = ("lentigo zqclass", "naevus zqclass")
"""What the user publishes with what learnt them."""
TOKEN = "<skindiff-lentigo-zqclass>"


def photographs(folder: Path, images: int = 2) -> Path:
    """A corpus of one's own: names of patients in folders, files, columns, groups, EXIF and comments."""
    rows = []
    for code, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(images):
            noise = np.random.default_rng([code, number]).integers(-30, 30, (32, 32, 3))
            image = Pillow.fromarray((np.array([180, 120 + 40 * code, 110]) + noise).astype(np.uint8))
            exif = image.getexif()
            exif[0x010E] = f"{MARK} description"
            exif.get_ifd(0x8825).update({1: "N", 2: (47.0, 22.0, 33.0), 0x1D: f"{MARK}:gps"})
            file = f"{MARK}-patient-{code}{number:02}.jpg"
            image.save(folder / name / file, exif=exif, comment=f"{MARK} comment".encode())
            rows.append(f"{name}/{file},{('II', 'V')[number % 2]},{MARK}-group-{code}{number},{MARK} note")
    (folder / f"{MARK}-list.xlsx").write_bytes(b"x")
    (folder / "metadata.csv").write_text(
        "\n".join([f"file_name,skin_type,group_id,{MARK}_column", *rows, f"{MARK}-lost.jpg,V,g,"]) + "\n"
    )
    return folder


def run(folder: Path, corpus: Path) -> Path:
    """A finished run on that corpus, with logs, stages, lists and pictures of photographs."""
    loaded = load_imagefolder(ImageFolderConfig(data_dir=str(corpus)))
    assert sum(MARK in warning for warning in loaded.warnings) >= 2
    own = {"data_dir": str(corpus), "metadata": f"{corpus}/metadata.csv", "label_column": f"{MARK}_label"}
    config = {
        "output_dir": str(folder),
        "corpus": {"name": "imagefolder", "imagefolder": own, "cache_dir": f"file:///{MARK}/a cache/"},
        "generator": {"model": f"{corpus}/model", "lora": {"rank": 2}},
        "synthetic": [f"{MARK}/set"],
        "trackers": ["tensorboard"],
    }
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    counts = {"name": "imagefolder", "images": 4}
    report = small_report(config=config, corpus=counts, reading=loaded.warnings)
    write_report(folder, report, include_images=True)
    content = json.loads((folder / "report.json").read_text())
    content |= {f"{MARK}_key": [1], "corpus": {**content["corpus"], f"{MARK}_field": 3}}
    content["summary"][0][f"{MARK}_id"] = MARK
    (folder / "report.json").write_text(json.dumps(content))
    loaded.write_lists(folder)
    for place in ("logs/tensorboard", "wandb/run", "stages/lora", "cache"):
        (folder / place).mkdir(parents=True)
        (folder / place / f"{MARK}.txt").write_text(MARK)
    for picture in (folder / "pictures").rglob("*.png"):
        note = PngImagePlugin.PngInfo()
        note.add_text("Comment", f"{MARK} text", zip=True)
        with Pillow.open(picture) as opened:
            opened.save(picture, pnginfo=note)
    (folder / "files.json").write_text(json.dumps(hashes_of(folder, "report.json", "report.md", "pictures")))
    return folder


def adapter(folder: Path) -> Path:
    """An adapter as another tool might leave one: private words in metadata, fields and files beside it."""
    (folder / "learned_embeds").mkdir(parents=True)
    name = f"learned_embeds/{TOKEN.strip('<>')}.safetensors"
    save_file({TOKEN: torch.zeros(1, 4)}, folder / name, metadata={"author": f"{MARK} author"})
    save_file({f"{MARK}": torch.zeros(1)}, folder / "learned_embeds" / f"{MARK}.safetensors")
    peft = {"unet.base_model_name_or_path": f"/home/{MARK}/base", "unet.r": 2, "unet.bias": "none"}
    metadata = {"lora_adapter_metadata": json.dumps(peft), "comment": MARK, "format": "pt"}
    lora = {"unet.a.lora_A.weight": torch.zeros(2, 2)}
    save_file(lora, folder / "pytorch_lora_weights.safetensors", metadata)
    entry = {"token": TOKEN, "vectors": 1, "initialiser": "skin", "comment": f"{MARK} comment"}
    (folder / "tokens.json").write_text(json.dumps({CLASSES[0]: entry}))
    settings = {"base_model": f"/home/{MARK}/my models/base@ab12", "base_class": "StableDiffusionPipeline"}
    settings |= {"lora": {"rank": 2, "notes": MARK, "data_dir": MARK, "zero_terminal_snr": False}}
    (folder / "config.yaml").write_text(f"# {MARK} comment\n{yaml.safe_dump(settings)}")
    (folder / "training_log.csv").write_text("stage,step,loss\nlora,1,0.5\n")
    (folder / f"{MARK}.json").write_text(json.dumps(MARK))
    return folder


def pipeline(folder: Path) -> Path:
    """The bundled pipeline with private words in its configs, its weights and beside them."""
    shutil.copytree(REPOSITORY / "skindiff" / "assets" / "tiny-skin-sd", folder)
    for name in ("model_index.json", "unet/config.json", "tokenizer/tokenizer_config.json"):
        content = json.loads((folder / name).read_text())
        content |= {"_name_or_path": f"{MARK}/base", "name_or_path": MARK, "sample_path": f"C:/{MARK}/a b/x"}
        (folder / name).write_text(json.dumps(content))
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    save_file(load_file(weights), weights, metadata={"format": "pt", "path": f"/home/{MARK}"})
    for name in ("notes.txt", "unet/notes.txt", f"unet/{MARK}.json", f"{MARK}/config.json"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(MARK))
    return folder


def classifier(folder: Path) -> Path:
    """A classifier with private words in its weights' metadata and beside it."""
    shape = Architecture("medmnist_cnn", 28, CLASSES)
    save_classifier(folder, build_classifier(shape, pretrained=False, weights=None, seed=0))
    weights = folder / "classifier.safetensors"
    save_file(load_file(weights), weights, metadata={"format": "pt", "trained_on": f"/home/{MARK}"})
    (folder / "split.json").write_text(json.dumps([f"{MARK}-patient"]))
    return folder


def synthetic(folder: Path, corpus: Path) -> Path:
    """Synthetic images whose files carry EXIF, with ids, groups and generators that name patients."""
    folder.mkdir()
    ids = [f"{CLASSES[0]}/{MARK}-patient-{number}.jpg" for number in range(2)]
    drawn = [next((corpus / CLASSES[0]).glob("*.jpg")).read_bytes()] * 2
    columns: dict[str, list[Any]] = {name: [None, None] for name in plan_features(CLASSES)}
    columns |= {"image_id": ids, "source_id": ids, "group_id": [f"{MARK}-group"] * 2, "label": [0, 1]}
    columns |= {"corpus": [corpus.name] * 2, "generator": [f"/home/{MARK}/runs/lora@ab12"] * 2}
    columns |= {"prompt": [f"An image of {TOKEN}"] * 2, "skin_type": ["V", None]}
    features = {"image": Image(), **plan_features(CLASSES)}
    images = [{"bytes": data, "path": f"{MARK}-{number}.jpg"} for number, data in enumerate(drawn)]
    table = Dataset.from_dict({"image": images, **columns}, features=Features(features))
    table.to_parquet(folder / "synthetic-00000-of-00001.parquet")
    group = f"{MARK}-group"
    rows = [Nearest(one, one, group, 0.1, one, group, 0.1, True, None, None, -1.0) for one in ids]
    half = {"p50": 0.1, "p95": 0.2, "p100": 0.3}
    NearCopies(fingerprint(table), "likeness", 0.9, 2, half, rows, "held-out", 200).save(folder)
    return folder


def words_in(name: str, content: bytes) -> Iterator[bytes]:
    """Yield a file's bytes, and what is in it once it is decoded: tables, images, headers, escapes."""
    yield name.encode()
    yield content
    if content[:4] == b"PAR1":
        file = pq.ParquetFile(io.BytesIO(content))
        yield str(file.metadata.metadata).encode()
        for row in file.read().to_pylist():
            for column, value in row.items():
                inner = value.get("bytes") if isinstance(value, dict) else None
                yield f"{column}: {value if inner is None else value.get('path')}".encode()
                yield from words_in(column, inner) if inner else ()
    elif content[:8] == b"\x89PNG\r\n\x1a\n":
        place = 8
        while place < len(content):
            (size,) = struct.unpack(">I", content[place : place + 4])
            kind, data = content[place + 4 : place + 8], content[place + 8 : place + 8 + size]
            assert kind in (b"IHDR", b"IDAT", b"IEND", b"PLTE", b"tRNS"), kind
            yield zlib.decompress(data) if kind == b"zTXt" else data
            place += 12 + size
    elif content[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for inner_name in archive.namelist():
                yield from words_in(inner_name, archive.read(inner_name))
    elif name.endswith(".safetensors"):
        (size,) = struct.unpack("<Q", content[:8])
        yield json.dumps(json.loads(content[8 : 8 + size]), ensure_ascii=False).encode()
    elif name.endswith(".json"):
        yield json.dumps(json.loads(content), ensure_ascii=False).encode()
    elif name.endswith(".yaml"):
        yield json.dumps(yaml.safe_load(content), ensure_ascii=False, default=str).encode()
    else:
        content.decode()  # there is no other kind that nobody looked into


def found_in(files: dict[str, bytes], word: str = MARK) -> list[str]:
    """Return the files that hold a word, whatever its letters' case."""
    return [
        name
        for name, content in files.items()
        if any(word.encode() in part.lower() for part in words_in(name, content))
    ]

"""The kinds of hostile input, and what skindiff is asked to do with each."""

import contextlib
import io
import json
import pickle
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from datasets import disable_progress_bars
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import skindiff
from skindiff.classification.cells import load_cell
from skindiff.classification.networks import Architecture, build_classifier, load_classifier, save_classifier
from skindiff.commands.compare import show as show_runs
from skindiff.commands.evaluate import EvaluateCommand
from skindiff.commands.push import PushCommand
from skindiff.commands.report import show
from skindiff.commands.sample import SampleCommand
from skindiff.commands.train_adapter import TrainLoRA
from skindiff.config import parse_config
from skindiff.corpora.audit import AuditConfig, audit_images
from skindiff.corpora.cache import resize_to_cache
from skindiff.corpora.fitzpatrick17k import Fitzpatrick17kConfig, load_fitzpatrick17k
from skindiff.corpora.imagefolder import ImageFolderConfig, load_imagefolder
from skindiff.corpora.table_corpus.loader import TableConfig, load_table
from skindiff.demo.asked import DrawRequest, TransferRequest
from skindiff.demo.config import DemoConfig
from skindiff.demo.drawing import draw
from skindiff.demo.generator_cache import GeneratorCache
from skindiff.demo.photographs import read_photograph
from skindiff.demo.reports import report_page
from skindiff.demo.settings import page_settings, read_address, read_settings
from skindiff.demo.transferring import transfer
from skindiff.errors import SkindiffError
from skindiff.foreign_tables import open_arrays, read_parquet
from skindiff.generators.adapter import LORA_FILE, load_adapter, save_adapter, unload_adapter
from skindiff.generators.resolve import find_generator
from skindiff.generators.text_to_image.loading import load_pipeline
from skindiff.hub import load as hub_load
from skindiff.hub.artefact import find_artefact
from skindiff.hub.cards import coverage_text, eval_results
from skindiff.hub.clean import clean_png
from skindiff.hub.client import push_files
from skindiff.hub.origin import Origin, find_facts
from skindiff.manifest import read_list
from skindiff.plugins import refuse_missing_plugins
from skindiff.report.compare import read_runs, write_comparison
from skindiff.report.write import write_report
from skindiff.synthesis.writer import load_summary, load_synthetic
from tests.corpora.colour_profiles import cmyk, display_p3
from tests.corpora.image_bytes import dicom, png, tiff
from tests.fuzz.engine import SECRET, Attempt, Believed, Kind
from tests.fuzz.strange import YAMLS, Copies, changed, flipped, json_text, no_file, torn, value, weights
from tests.generators.text_to_image.checkpoints import save_checkpoint
from tests.hub_http import httpx
from tests.report.test_write import small_report
from tests.tiny import save_tiny_pipeline, tiny_pipeline
from tests.tiny_generators import tiny_ddpm


def _secret(folder: Path) -> Path:
    """Write a file that no input has a right to read, as lines, as settings and as a table at once."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "passwd"
    file.write_text(f"root:{SECRET}:0:0:root:/root:/bin/bash\ndaemon:{SECRET}:1:1\n - {SECRET}: x\n")
    return file


def models(folder: Path) -> Attempt:
    """Whole pipelines: of Stable Diffusion, as a folder and in one file, and of a family of our own."""
    honest = {"sd": save_tiny_pipeline(folder / "sd"), "ddpm": folder / "ddpm", "single": folder / "single"}
    tiny_ddpm().save_pretrained(honest["ddpm"])
    honest["single"].mkdir()
    single, config = save_checkpoint(honest["single"])
    save_file({name: part for name, part in load_file(single).items() if name != "alphas_cumprod"}, single)
    secret = _secret(folder / "secret")
    settings: dict[str, list[tuple[str, Any]]] = {
        "config.json": [
            ("quantization_config", {"load_in_4bit": True}),
            ("quantization_config", {"quant_method": "fp8"}),
            ("layers_per_block", 10**6),
            ("hidden_size", 10**6),
            ("num_hidden_layers", 10**6),
            ("sample_size", 10**6),
            ("in_channels", 10**6),
            ("block_out_channels", [3200, 2400]),
            ("block_out_channels", [-16, -24]),
            ("scaling_factor", 0),
        ],
        "scheduler_config.json": [("num_train_timesteps", 10**12), ("num_train_timesteps", 3 * 10**8)],
        "tokenizer_config.json": [("model_max_length", 10**30), ("model_max_length", "x")],
        "model_index.json": [("image_size", 10**6), ("class_names", 7), ("unet", ["x", "y"])],
    }

    named = (
        ("unet/config.json", "quantization_config", {"quant_method": "fp8"}),
        ("unet/config.json", "quantization_config", {"load_in_4bit": True}),
        ("scheduler/scheduler_config.json", "num_train_timesteps", 10**12),
        ("unet/config.json", "sample_size", 10**6),
    )

    def by_name(rng: random.Random, theirs: Path) -> None:
        file, setting, new = rng.choice(named)
        path = theirs / file
        path.write_text(json.dumps({**json.loads(path.read_text()), setting: new}))
        try:
            skindiff.load(theirs)
        except SkindiffError as error:
            if setting in str(error):
                raise
            raise Believed(f"{setting} is not named: {error}") from error
        raise Believed(f"{setting} is taken")

    def attempt(rng: random.Random) -> None:
        name = rng.choice(list(honest))
        theirs = Copies(honest[name], folder / "theirs").fresh()
        if name != "single" and rng.random() < 0.1:
            by_name(rng, theirs)
        how = ""
        files = [path for path in sorted(theirs.rglob("*")) if path.is_file()]
        kind = rng.choice(sorted({path.name for path in files}))
        file = rng.choice([path for path in files if path.name == kind])
        if rng.random() < 0.1:
            no_file(rng, file, secret)
        elif file.suffix == ".safetensors":
            how = weights(rng, file)
        else:
            found = json.loads(file.read_text())
            file.write_bytes(json_text(rng, found, settings.get(file.name, ())))
        in_file = {"model_config": str(theirs / config.name)} if name == "single" else {}
        pipeline = skindiff.load(theirs / single.name if in_file else theirs, **in_file)
        _refuse_broken(pipeline.components, how)
        if name != "ddpm":
            pipeline("red", num_inference_steps=1, generator=torch.Generator().manual_seed(0))
        if pipeline.scheduler.config.num_train_timesteps > 10**6:
            raise Believed("more timesteps than anybody has")
        for path in theirs.rglob("config.json"):
            with contextlib.suppress(ValueError, AttributeError):
                if json.loads(path.read_text()).get("quantization_config"):
                    raise Believed("a quantization_config")

    return attempt


def _refuse_broken(parts: dict[str, Any], how: str) -> None:
    if how in ("missing", "empty", "absent", "folder"):
        raise Believed(f"{how} weights")
    for network in parts.values():
        if isinstance(network, torch.nn.Module):
            for tensor in network.state_dict().values():
                if tensor.is_meta or (tensor.is_floating_point() and not tensor.isfinite().all()):
                    raise Believed("weights that are none")


def adapters(folder: Path) -> Attempt:
    """Adapters on a pipeline that is loaded once."""
    from tests.generators.test_adapter import train_both

    pipeline, adapter = train_both(folder / "made", vectors=1, text_encoder=False)
    save_adapter(adapter, pipeline)
    base, secret = tiny_pipeline(), _secret(folder / "secret")
    words = len(base.tokenizer)
    fields: list[tuple[str, Any]] = [("vectors", 10**11), ("token", "<../x>"), ("initialiser", "skin " * 999)]
    settings: list[tuple[str, Any]] = [("lora", [1]), ("base_model", 7), ("config", str(secret))]
    ranks: list[tuple[str, Any]] = [("r", 10**11), ("r", -1), ("rank_pattern", {"to_q": 10**9})]

    def metadata(rng: random.Random, file: Path) -> None:
        with safe_open(file, "pt") as opened:
            found = json.loads(opened.metadata()["lora_adapter_metadata"])
        name, new = rng.choice(ranks)
        text = json.dumps(changed(rng, {**found, f"unet.{name}": new})) if rng.random() < 0.9 else "[" * 10**5
        save_file(load_file(file), file, metadata={"lora_adapter_metadata": text})

    def attempt(rng: random.Random) -> None:
        theirs = Copies(adapter.folder, folder / "theirs").fresh()
        how = ""
        file = rng.choice([path for path in sorted(theirs.rglob("*")) if path.is_file()])
        if rng.random() < 0.1:
            no_file(rng, file, secret)
        elif file.name == LORA_FILE and rng.random() < 0.5:
            metadata(rng, file)
        elif file.suffix == ".safetensors":
            how = weights(rng, file)
        elif file.suffix == ".json":
            found = json.loads(file.read_text())
            name = rng.choice(list(found))
            spoilt = {**found, name: changed(rng, found[name], fields)}
            file.write_bytes(json_text(rng, rng.choice((found, spoilt))))
        elif file.suffix == ".yaml":
            file.write_bytes(_yaml(rng, yaml.safe_load(file.read_text()), settings))
        else:
            file.write_bytes(flipped(rng, file.read_bytes()))
        find_generator(str(theirs), base_model=str(folder))
        loaded = load_adapter(base, theirs)
        _refuse_broken({"unet": base.unet, "text": base.text_encoder}, how if file.name != LORA_FILE else "")
        unload_adapter(base, loaded)
        if len(base.tokenizer) != words:
            raise Believed("words that stay")

    return attempt


def classifiers(folder: Path) -> Attempt:
    """Classifiers of timm's and of our own networks."""
    honest = folder / "classifier"
    architecture = Architecture("medmnist_cnn", 28, ("a", "b"))
    save_classifier(honest, build_classifier(architecture, pretrained=False, weights=None, seed=0))
    secret = _secret(folder / "secret")
    settings: list[tuple[str, Any]] = [
        ("name", "hf-hub:owner/model"),
        ("name", "local-dir:/"),
        ("name", "resnet18"),
        ("image_size", 10**9),
        ("channels", 10**9),
        ("class_names", ["x"] * 10**5),
        ("head", "published"),
    ]

    def attempt(rng: random.Random) -> None:
        theirs = Copies(honest, folder / "theirs").fresh()
        how = ""
        file = rng.choice([path for path in sorted(theirs.rglob("*")) if path.is_file()])
        if rng.random() < 0.1:
            no_file(rng, file, secret)
        elif file.suffix == ".safetensors":
            how = weights(rng, file)
        else:
            file.write_bytes(json_text(rng, json.loads(file.read_text()), settings))
        model = load_classifier(theirs)
        _refuse_broken({"network": model.network}, how)

    return attempt


def settings(folder: Path) -> Attempt:
    """Settings files and words on the command line; nothing is run."""
    from skindiff.commands.settings import DEFAULTS

    secret = _secret(folder / "secret")
    kinds: list[tuple[type[Any], str]] = [
        (TrainLoRA, "train-lora"),
        (SampleCommand, "sample"),
        (EvaluateCommand, "evaluate"),
        (PushCommand, "push"),
    ]
    words: list[Callable[[], list[str]]] = [
        lambda: ["--output_dir", "a\0b"],
        lambda: ["--output_dir", "x" * 5_000_000],
        lambda: ["--lora.rank", "100000000000"],
        lambda: ["--lora.rank", "10000000"],
        lambda: ["--threads", "1000000000000"],
        lambda: ["--corpus.image_size", "1000000"],
        lambda: ["--corpus.phantom.images_per_class", '{"I": -3}'],
        lambda: ["--corpus.phantom.images_per_class", '{"I": 1000000000000}'],
        lambda: ["--lora.loop.steps", "1000000000000"],
        lambda: ["--corpus", str(secret)],
        lambda: ["--config", "/dev/zero"],
    ]
    extra: list[tuple[str, Any]] = [
        ("config", str(secret)),
        ("corpus", str(secret)),
        ("corpus", {"phantom": str(secret)}),
        ("lora", {"rank": 10**11}),
        ("lora", {"loop": str(secret)}),
        ("synthesis", str(secret)),
        ("output_dir", "a\0b"),
        ("origin", str(secret)),
    ]

    defaults = {name: DEFAULTS / f"{name}.yaml" for _, name in kinds}
    contents = {name: yaml.safe_load(file.read_text()) or {} for name, file in defaults.items()}

    def attempt(rng: random.Random) -> None:
        kind, name = rng.choice(kinds)
        file = folder / "theirs.yaml"
        shutil.rmtree(file) if file.is_dir() and not file.is_symlink() else file.unlink(missing_ok=True)
        if rng.random() < 0.4:
            given = rng.choice(words)()
        else:
            file.write_bytes(_yaml(rng, contents[name], extra))
            given = ["--config", str(file)]
            if rng.random() < 0.1:
                no_file(rng, file, secret)
        _refuse_unmeant(parse_config(kind, given, default=defaults[name]))

    return attempt


def _refuse_unmeant(config: Any) -> None:
    def look(part: Any, name: str) -> None:
        if hasattr(part, "__dataclass_fields__"):
            for inner in part.__dataclass_fields__:
                look(getattr(part, inner), inner)
        elif isinstance(part, dict):
            for one in part.values():
                look(one, name)
        elif isinstance(part, str) and ("\0" in part or len(part) > 10**5):
            raise Believed(f"{name} with a NUL, or without end")
        elif isinstance(part, int) and "seed" not in name:
            most = {"rank": 10**6, "images_per_class": 10**8, "image_size": 10**5}.get(name, 10**10)
            if part > most or (name == "images_per_class" and part < 0):
                raise Believed(f"{name}={part}")

    look(config, "")


def _yaml(rng: random.Random, content: Any, extra: list[tuple[str, Any]]) -> bytes:
    if rng.random() < 0.3:
        return rng.choice(YAMLS)().encode("utf-8", "surrogatepass")
    spoilt = changed(rng, content, extra)
    return torn(rng, yaml.safe_dump(spoilt, allow_unicode=True).encode("utf-8", "surrogatepass"))


def tables(folder: Path) -> Attempt:
    """Tables of images, archives of arrays, and Parquet."""
    secret = _secret(folder / "secret")
    images = folder / "images"
    for name in ("one", "two"):
        (images / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (20, 20), (number, 90, 80)).save(images / name / f"{number}.png")
    (images / "metadata.csv").write_text("file_name,skin_type,group_id\none/0.png,V,a\ntwo/1.png,II,b\n")
    fitz = folder / "fitz"
    shutil.copytree(images / "one", fitz / "images")
    (fitz / "fitzpatrick17k.csv").write_text("md5hash,fitzpatrick_scale,label\n0,5,one\n1,-1,one\n2,2,two\n")
    from skindiff.classification.cells import Cell, CellKey, save_cell

    key = CellKey("iii", "dark", None, None, "real", None, "resnet18", "grouped", 0, 0)
    labels = np.array([0, 1])
    save_cell(
        Cell(
            key, ("a", "b"), ("x", "y"), ("x", "y"), (None, "V"), labels, np.full((2, 2), 0.5, np.float32), 3
        ),
        folder / "cell.npz",
    )
    drawn = pa.table({"a": [1, 2], "image_id": ["x", "y"]})
    bomb = pa.table({"a": pa.nulls(3 * 10**7, pa.int8())})
    pq.write_table(bomb, folder / "bomb.parquet", row_group_size=10**8)
    pq.write_table(drawn, folder / "drawn.parquet")
    np.savez_compressed(folder / "bomb.npz", a=np.zeros(3 * 10**8, np.uint8))

    def csv_of(rng: random.Random, file: Path) -> None:
        if rng.random() < 0.2:
            no_file(rng, file, secret)
            return
        rows = file.read_text().splitlines()
        place = rng.randrange(len(rows))
        cells = rows[place].split(",")
        cells[rng.randrange(len(cells))] = str(value(rng))[:9999]
        rows[place] = ",".join(cells) + rng.choice(("", "", ",x", '"', "\0", "\r"))
        file.write_bytes(torn(rng, "\n".join(rows).encode("utf-8", "surrogatepass")))

    def attempt(rng: random.Random) -> None:
        how = rng.choice(("folder", "fitz", "table", "cell", "arrays", "parquet", "synthetic"))
        place = folder / "theirs"
        if how == "folder":
            theirs = Copies(images, place).fresh()
            csv_of(rng, theirs / "metadata.csv")
            if rng.random() < 0.5:
                no_file(rng, theirs / "one" / "0.png", secret)
            loaded = load_imagefolder(ImageFolderConfig(str(theirs)))
            resize_to_cache(loaded.dataset, 16, folder / "cache")
        elif how == "fitz":
            theirs = Copies(fitz, place).fresh()
            csv_of(rng, theirs / "fitzpatrick17k.csv")
            load_fitzpatrick17k(Fitzpatrick17kConfig(str(theirs), conditions=["one", "two"]))
        elif how == "table":
            theirs = Copies(images, place).fresh()
            listing = theirs / f"listing{rng.choice(('.csv', '.tsv', '.jsonl', '.parquet', '.xlsx'))}"
            rows = ["file;label;patient;skin_type", "0.png;x;1;V", "1.png;y;2;FST 2", "two/2.png;x;;"]
            listing.write_text("\n".join(rows).replace(";", rng.choice(";,\t|")))
            csv_of(rng, listing)
            load_table(TableConfig(str(theirs), metadata=str(listing), folders=["two"]))
        elif how == "cell":
            raw = (folder / "cell.npz").read_bytes()
            (folder / "theirs.npz").write_bytes(flipped(rng, raw, 20) if rng.random() < 0.8 else b"hello")
            load_cell(folder / "theirs.npz")
        elif how == "arrays":
            _read_arrays(rng, folder)
        elif how == "parquet":
            file = folder / rng.choice(("bomb.parquet", "theirs.parquet", "drawn.parquet"))
            (folder / "theirs.parquet").write_bytes(flipped(rng, (folder / "drawn.parquet").read_bytes()))
            with contextlib.suppress(ValueError):
                if read_parquet(file).num_rows > 10**7:
                    raise Believed("a bomb of rows")
        else:
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            feature = json.dumps({"info": {"features": changed(rng, {"image": {"_type": "Image"}})}})
            pq.write_table(
                drawn.replace_schema_metadata({"huggingface": feature}),
                place / "synthetic-00000-of-00001.parquet",
            )
            load_synthetic(place)

    return attempt


sprung: list[bool] = []
"""An entry for each trap that was unpickled."""


class Trap:
    """Notes that it was unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (_sprung, ())


def _sprung() -> None:
    sprung.append(True)


def _read_arrays(rng: random.Random, folder: Path) -> None:
    stream = io.BytesIO()
    kind = rng.choice(("|u1", "<f8", "|O", "<U9"))
    shape = tuple(rng.choice((1, 2, 0, -1, 10**6, 10**12)) for _ in range(rng.randint(1, 3)))
    np.lib.format.write_array_header_1_0(stream, {"shape": shape, "fortran_order": False, "descr": kind})
    with zipfile.ZipFile(folder / "theirs.npz", "w", zipfile.ZIP_DEFLATED) as file:
        head = stream.getvalue() if kind == "|O" or rng.random() < 0.5 else flipped(rng, stream.getvalue())
        body = pickle.dumps(Trap()) if kind == "|O" else bytes(rng.choice((0, 8, 1000)))
        file.writestr("a.npy", head + body)
    file_name = rng.choice(("theirs.npz", "theirs.npz", "bomb.npz"))
    with contextlib.suppress(ValueError), open_arrays(folder / file_name) as arrays:
        if sum(arrays[name].nbytes for name in arrays) > 2 * 10**8:
            raise Believed("a bomb of arrays")
    if sprung:
        sprung.clear()
        raise Believed("a pickle")


def pictures(folder: Path) -> Attempt:
    """Images: as a corpus, as uploads, and before a push."""
    rng = np.random.default_rng(0)
    pixels = Image.fromarray(rng.integers(0, 255, (40, 48, 3)).astype(np.uint8))
    honest: list[tuple[str, bytes]] = []
    for suffix, options in (("png", {}), ("jpg", {"quality": 90}), ("webp", {}), ("gif", {}), ("tiff", {})):
        stream = io.BytesIO()
        exif = pixels.getexif()
        exif[0x0112] = 6
        pixels.save(stream, {"jpg": "JPEG"}.get(suffix, suffix.upper()), exif=exif, **options)
        honest.append((suffix, stream.getvalue()))
    deep = rng.integers(0, 2**16, (40, 48, 3), dtype=np.uint16)
    honest += [("png", png(deep)), ("tiff", tiff(deep, compression="zlib")), ("dcm", dicom(deep[..., 0]))]
    for profile in (display_p3(), cmyk(0.9)):
        stream = io.BytesIO()
        pixels.convert("CMYK" if profile == cmyk(0.9) else "RGB").save(stream, "TIFF", icc_profile=profile)
        honest.append(("tiff", stream.getvalue()))
    secret = _secret(folder / "secret")

    def attempt(draw_from: random.Random) -> None:
        suffix, raw = draw_from.choice(honest)
        theirs = folder / "theirs"
        shutil.rmtree(theirs, ignore_errors=True)
        (theirs / "one").mkdir(parents=True)
        file = theirs / "one" / f"a.{draw_from.choice((suffix, 'png', 'jpg'))}"
        new = bytearray(flipped(draw_from, raw, draw_from.choice((2, 30))))
        if suffix == "png" and draw_from.random() < 0.3:
            new[16:24] = draw_from.choice((1, 10**4, 10**6, 2**31 - 1)).to_bytes(4, "big") * 2
        file.write_bytes(bytes(new[: draw_from.choice((len(new), len(new), len(new) // 2))]))
        Image.new("RGB", (20, 20)).save(theirs / "one" / "b.png")
        if draw_from.random() < 0.1:
            no_file(draw_from, file, secret)
        how = draw_from.choice(("corpus", "audit", "upload", "push"))
        if how == "corpus":
            loaded = load_imagefolder(ImageFolderConfig(str(theirs)))
            resize_to_cache(loaded.dataset, 16, folder / "cache")
        elif how == "audit":
            paths = {"a": file, "b": theirs / "one" / "b.png"}
            if file.is_symlink() or file.exists():
                audit_images(paths, AuditConfig(find_near_duplicates=False), None)
        elif how == "upload":
            if not file.exists() or file.is_file():  # an upload is a file of Gradio's
                read_photograph(file, max_bytes=10**6, max_pixels=10**6)
        elif file.is_file() and not file.is_symlink():
            clean_png(file.read_bytes())

    return attempt


def runs(folder: Path) -> Attempt:
    """Folders of runs, in report, compare and push."""
    honest = folder / "run"
    honest.mkdir(parents=True)
    write_report(honest, small_report())
    (honest / "files.json").unlink()
    (honest / "report.html").unlink()  # so that its page is made again
    shutil.rmtree(honest / "pictures")
    (honest / "config.yaml").write_text("corpus:\n  name: phantom\n")
    (honest / "plugins.json").write_text("[]")
    listed = {"inputs": {}, "files": {"a": [1, "0" * 64]}}
    (honest / "stages" / "one").mkdir(parents=True)
    (honest / "stages" / "one" / "done.json").write_text(json.dumps(listed))
    (honest / "summary.json").write_text(
        json.dumps({"planned": 3, "drawn": 2, "refused_counts": {"black": 1}})
    )
    secret = _secret(folder / "secret")
    content = json.loads((honest / "report.json").read_text())
    # The longest parts, in small: each input is read whole.
    for name in ("summary", "results", "published"):
        content[name] = content[name][:12]
    content["config"]["corpus"] = {"name": "phantom", "image_size": 64}
    content["config"]["split"] = {"scenario": "iii", "majority_types": ["I"], "minority_types": ["V"]}
    (honest / "report.json").write_text(json.dumps(content))
    smaller = {name: part for name, part in content.items() if name != "fairness"}

    def attempt(rng: random.Random) -> None:
        theirs = Copies(honest, folder / "theirs").fresh()
        file = theirs / rng.choice(
            (
                *["report.json"] * 6,
                "config.yaml",
                "plugins.json",
                "stages/one/done.json",
                "summary.json",
                "report.md",
            )
        )
        if rng.random() < 0.1:
            no_file(rng, file, secret)
        elif file.suffix == ".yaml":
            file.write_bytes(_yaml(rng, yaml.safe_load(file.read_text()), [("corpus", [1]), ("split", "x")]))
        elif file.suffix == ".md":
            file.write_bytes(flipped(rng, file.read_bytes()))
        else:
            file.write_bytes(
                json_text(rng, smaller if file.name == "report.json" else json.loads(file.read_text()))
            )
        for reader in rng.sample(readers, 3):
            reader(theirs)

    def pushed(theirs: Path) -> None:
        facts = find_facts(Origin(), theirs, "cc-by-4.0")
        eval_results(facts.report)
        coverage_text(facts)

    def summed(theirs: Path) -> None:
        summary = load_summary(theirs)
        _ = summary["planned"] - summary["drawn"] - sum(summary.get("refused_counts", {}).values())

    def compared(theirs: Path) -> None:
        read = read_runs([honest, theirs])
        show_runs(read, ["accuracy", "balanced_accuracy"])

    readers: list[Callable[[Path], Any]] = [
        *(pushed, compared, show) * 2,
        refuse_missing_plugins,
        summed,
        report_page,
        lambda theirs: read_list(theirs / "stages" / "one" / "done.json"),
        lambda theirs: find_artefact(str(theirs)),
        lambda theirs: write_comparison(folder / "compared", read_runs([honest, theirs])[1:], ["accuracy"]),
    ]
    return attempt


def demo(folder: Path) -> Attempt:
    """Calls of the demo: what visitors can type, choose and send."""
    save_tiny_pipeline(folder / "tiny")
    tiny_ddpm().save_pretrained(folder / "ddpm")
    offered = [str(folder / "tiny"), str(folder / "ddpm")]
    cache = GeneratorCache(
        DemoConfig(generators=offered, open_choice=False, batch_size=2, tone_draws=2, tone_subject="skin")
    )
    secret = _secret(folder / "secret")
    numbers: tuple[Any, ...] = (0, -1, 1, 2, 3, 10**9, 10**400, 0.5, float("nan"), float("inf"), -0.0, 2**64)
    words = (
        "tiny", "ddpm", "bundled", "", "x" * 10**5, "a\0b", str(secret), "../tiny", "owner/name", "<x>",
        "\ud800", "skin", "one", "eczema", "<script>", "\x1b[31m", "V", "VI", "any", "owner/" + "x" * 300,
    )  # fmt: skip

    def attempt(rng: random.Random) -> None:
        honest = {"generator": rng.choice(("tiny", "ddpm")), "conditions": ("one",), "steps": 1, "count": 1}
        strange = {
            "generator": rng.choice(words), "condition": rng.choice(words), "value": rng.choice(words),
            "count": rng.choice(numbers), "guidance_scale": rng.choice(numbers), "steps": rng.choice(numbers),
            "seed": rng.choice(numbers), "strength": rng.choice(numbers), "tone": rng.choice(words),
        }  # fmt: skip
        names = rng.sample(list(strange), rng.randint(1, 2))
        if rng.random() < 0.2:
            page = rng.choice(("generate", "photograph", "compare"))
            read_address({"tab": page, **{name: str(strange[name]) for name in names}}, DemoConfig())
            path = folder / "settings.json"
            path.write_text(json.dumps({**page_settings(page), **{name: strange[name] for name in names}}))
            read_settings(path, page, DemoConfig())
        elif rng.random() < 0.5:
            asked = {**honest, **{name: strange[name] for name in names if name not in ("strength", "tone")}}
            asked |= {f"{name}s": (asked.pop(name),) for name in ("condition", "value") if name in asked}
            for _ in draw(cache, DrawRequest(**asked)):
                pass
        else:
            side = rng.choice((16, 17, 40))
            sent = np.zeros((side, rng.choice((side, 16)), 3), np.uint8)
            asked = {"generator": "tiny", "steps": 2, "tone": "none"}
            asked |= {name: strange[name] for name in names if name != "count"}
            asked |= {f"{name}s": (asked.pop(name),) for name in ("strength",) if name in asked}
            for _ in transfer(cache, TransferRequest(sent, **asked)):
                pass

    return attempt


def hub(folder: Path) -> Attempt:
    """What the Hub answers: folders, errors and facts of repositories."""
    honest = folder / "run"
    honest.mkdir(parents=True)
    write_report(honest, small_report(cells=[]))
    architecture = Architecture("medmnist_cnn", 28, ("a", "b"))
    classifier = folder / "classifier"
    save_classifier(classifier, build_classifier(architecture, pretrained=False, weights=None, seed=0))
    (classifier / "classifier.safetensors").rename(classifier / "model.safetensors")
    secret = _secret(folder / "secret")

    def error_of(rng: random.Random) -> Exception:
        status = rng.choice((200, 301, 400, 401, 403, 404, 409, 418, 429, 500, 503, 599))
        body = rng.choice(
            (b"", b"[", b'{"error": [1]}', b"\xff", b"x" * 10**5, b"<html>", b'{"error": "a\\nb"}')
        )
        wait = {"Retry-After": rng.choice(("x", "-5", "1e9", "0", "99999999999", ""))}
        request = httpx.Request("GET", "https://hub/api")
        response = httpx.Response(status, content=body, headers=wait, request=request)
        return rng.choice(
            (
                HfHubHTTPError(f"{status} error\nsecond line", response=response),
                LocalEntryNotFoundError("not here"),
                ValueError(""),
                OSError(28, "No space left on device"),
                KeyError("x"),
                RuntimeError("x\n" * 500),
                httpx.ConnectError("refused"),
                UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
            )
        )

    def answer(rng: random.Random, place: Path) -> Callable[..., Any]:
        spoilt: list[Path] = []

        def fetch(*args: Any, **options: Any) -> str:
            if spoilt:
                return str(place)
            if rng.random() < 0.4:
                raise error_of(rng)
            if rng.random() < 0.1:
                return str(rng.choice((folder / "absent", secret, "a\0b", "")))
            file = rng.choice([path for path in sorted(place.rglob("*")) if path.is_file()])
            spoilt.append(file)
            if file.suffix == ".json":
                file.write_bytes(json_text(rng, json.loads(file.read_text())))
            elif rng.random() < 0.5:
                no_file(rng, file, secret)
            return str(place)

        return fetch

    def load(rng: random.Random) -> None:
        what = rng.choice(("run", "classifier", "adapter", "generator"))
        theirs = Copies(honest if what == "run" else classifier, folder / "theirs").fresh()
        fetch = answer(rng, theirs)
        name = rng.choice(("owner/name", "owner/name", "x", "owner/a/b", "../x", "owner/name@main", "a\0/b"))
        with (
            mock.patch("skindiff.hub.load.snapshot_download", fetch),
            mock.patch("skindiff.generators.resolve.snapshot_download", fetch),
            mock.patch("skindiff.generators.resolve.hf_hub_download", fetch),
            mock.patch("skindiff.generators.models.hf_hub_download", fetch),
        ):
            if what == "run":
                show(hub_load.load_run(name))
            elif what == "classifier":
                hub_load.load_classifier(name)
            elif what == "adapter":
                load_adapter(tiny, hub_load.load_adapter_folder(name))
            else:
                load_pipeline(find_generator(name).model)

    tiny = tiny_pipeline()

    def push(rng: random.Random) -> None:
        def step(result: Any) -> Callable[..., Any]:
            def call(*args: Any, **options: Any) -> Any:
                if rng.random() < 0.3:
                    raise error_of(rng)
                return result

            return call

        info = SimpleNamespace(private=rng.choice((True, False, None)), siblings=rng.choice((None, [])))
        api = SimpleNamespace(
            create_repo=step(rng.choice(("https://hub/me/x", None, "a\nb", "x" * 10**4))),
            model_info=step(info),
            dataset_info=step(info),
            create_commit=step(SimpleNamespace(oid=rng.choice(("0" * 40, None, "")))),
        )
        with (
            mock.patch("skindiff.hub.client.HfApi", return_value=api),
            mock.patch("skindiff.hub.client.time.sleep"),
            mock.patch("skindiff.hub.client.get_token", return_value="hf_" + "x" * 30),
        ):
            push_files({"a": b"x"}, "me/x", repo_type=rng.choice(("model", "dataset")), message="m")

    def attempt(rng: random.Random) -> None:
        (load if rng.random() < 0.6 else push)(rng)

    return attempt


disable_progress_bars()
KINDS = (
    Kind("models", models, 2.0),
    Kind("adapters", adapters, 1.5),
    Kind("classifiers", classifiers, 1.0),
    Kind("settings", settings, 2.5),
    Kind("tables", tables, 1.0),
    Kind("pictures", pictures, 0.7),
    Kind("runs", runs, 1.2),
    Kind("demo", demo, 0.5),
    Kind("hub", hub, 0.6),
)

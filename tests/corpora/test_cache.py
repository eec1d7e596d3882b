import errno
import hashlib
import io
import json
import time
from pathlib import Path

import numpy as np
import PIL
import pytest
from datasets import Dataset, enable_progress_bars, load_from_disk
from PIL import Image, ImageDraw

import skindiff.corpora.cache as cache
from skindiff.corpora.buckets import FRAMED
from skindiff.corpora.cache import pixels, resize_to_cache
from skindiff.corpora.crops import Crop
from skindiff.corpora.schema import corpus_features
from skindiff.errors import ConfigError, CorpusError
from tests.corpora.colour_profiles import display_p3


def photograph(seed: int, width: int = 60, height: int = 30) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def corpus(images: list, **columns: list) -> Dataset:
    number = len(images)
    table = {
        "image": images,
        "label": [row % 2 for row in range(number)],
        "skin_type": [None if row % 3 == 0 else "V" for row in range(number)],
        "image_id": [f"image-{row}" for row in range(number)],
        "group_id": [f"group-{row // 2}" for row in range(number)],
        "corpus": ["test"] * number,
    }
    return Dataset.from_dict(table | columns, features=corpus_features(["eczema", "acne"]))


def files(folder: Path, number: int = 3) -> list[str]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{row}.png" for row in range(number)]
    for row, path in enumerate(paths):
        photograph(row).save(path)
    return [str(path) for path in paths]


def test_nothing_is_drawn_on_the_console(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(cache, "enable_progress_bars", lambda: drawn.append(True))
    drawn: list[bool] = []
    enable_progress_bars()
    resize_to_cache(corpus(files(tmp_path / "images")), 16, tmp_path / "cache")
    assert capfd.readouterr() == ("", "")
    assert drawn == [True], "bars are drawn again afterwards"


def test_images_become_square_rgb_and_the_columns_stay(tmp_path):
    source = corpus(files(tmp_path / "images"))
    cached = resize_to_cache(source, 16, tmp_path / "cache")
    assert cached.quarantined == []
    kept = cached.dataset.remove_columns(FRAMED)
    assert kept.features == source.features
    for column in ("label", "skin_type", "image_id", "group_id", "corpus"):
        assert list(cached.dataset[column]) == list(source[column])
    for row in cached.dataset:
        assert row["image"].size == (16, 16)
        assert row["image"].mode == "RGB"
    expected = photograph(0).resize((32, 16), Image.Resampling.LANCZOS).crop((8, 0, 24, 16))
    assert np.array_equal(np.asarray(cached.dataset[0]["image"]), np.asarray(expected))
    on_disk = load_from_disk(str(tmp_path / "cache" / cached.fingerprint))
    assert np.array_equal(pixels(on_disk), pixels(cached.dataset))


def test_stretch_keeps_the_whole_picture(tmp_path):
    source = corpus([photograph(0)])
    stretched = resize_to_cache(source, 16, tmp_path, crop=Crop("stretch"))
    expected = photograph(0).resize((16, 16), Image.Resampling.LANCZOS)
    assert np.array_equal(pixels(stretched.dataset)[0], np.asarray(expected))
    assert stretched.fingerprint != resize_to_cache(source, 16, tmp_path).fingerprint


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK", "1"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    file = io.BytesIO()
    photograph(0).convert(mode).save(file, "TIFF")
    cached = resize_to_cache(corpus([file.getvalue()]), 16, tmp_path)
    assert pixels(cached.dataset).shape == (1, 16, 16, 3)


def test_orientation_is_applied(tmp_path):
    image = Image.new("RGB", (60, 60), "white")
    ImageDraw.Draw(image).rectangle((0, 0, 59, 20), fill="black")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95, exif=exif)
    turned = pixels(resize_to_cache(corpus([file.getvalue()]), 30, tmp_path).dataset)[0]
    assert turned[:, -8:].mean() < 20, "what was above is on the right"
    assert turned[:, :15].mean() > 235


def test_second_call_is_a_hit_even_where_files_moved(tmp_path, monkeypatch):
    first = resize_to_cache(corpus(files(tmp_path / "a")), 16, tmp_path / "cache")
    moved = corpus(files(tmp_path / "b"))
    monkeypatch.setattr(cache, "_square", lambda *_, **__: pytest.fail("decoded again"))
    second = resize_to_cache(moved, 16, tmp_path / "cache")
    assert second.fingerprint == first.fingerprint
    assert np.array_equal(pixels(second.dataset), pixels(first.dataset))


def test_contents_settings_and_columns_are_in_the_fingerprint(tmp_path):
    paths = files(tmp_path / "images")
    source = corpus(paths)
    prints = [resize_to_cache(source, size, tmp_path / "cache").fingerprint for size in (16, 24)]
    prints.append(resize_to_cache(source.select([2, 1, 0]), 16, tmp_path / "cache").fingerprint)
    prints.append(resize_to_cache(corpus(paths, group_id=["one"] * 3), 16, tmp_path / "cache").fingerprint)
    photograph(99).save(paths[1])  # the same name, other contents
    changed = resize_to_cache(source, 16, tmp_path / "cache")
    assert len({*prints, changed.fingerprint}) == 5
    expected = photograph(99).resize((32, 16), Image.Resampling.LANCZOS).crop((8, 0, 24, 16))
    assert np.array_equal(pixels(changed.dataset)[1], np.asarray(expected))


def test_images_in_memory_are_cached(tmp_path):
    images = [photograph(row) for row in range(3)]
    from_files = resize_to_cache(corpus(files(tmp_path / "images")), 16, tmp_path / "cache")
    in_memory = resize_to_cache(corpus(images), 16, tmp_path / "cache")
    assert np.array_equal(pixels(in_memory.dataset), pixels(from_files.dataset))


def test_selected_rows_are_cached_in_their_order(tmp_path):
    images = [photograph(row) for row in range(5)]
    cached = resize_to_cache(corpus(images).select([4, 1]), 16, tmp_path)
    assert list(cached.dataset["image_id"]) == ["image-4", "image-1"]


def test_corrupt_images_are_quarantined_with_a_reason(tmp_path):
    paths = files(tmp_path / "images", 6)
    Path(paths[1]).write_bytes(b"this is text")
    Path(paths[2]).write_bytes(Path(paths[2]).read_bytes()[:900])
    Path(paths[3]).write_bytes(b"")
    Path(paths[4]).unlink()
    source = corpus([*paths, None])
    for _ in range(2):  # built, then read back
        cached = resize_to_cache(source, 16, tmp_path / "cache")
        assert list(cached.dataset["image_id"]) == ["image-0", "image-5"]
        reasons = dict(cached.quarantined)
        assert list(reasons) == ["image-1", "image-2", "image-3", "image-4", "image-6"]
        assert reasons["image-1"] == reasons["image-3"] == "not an image file"
        assert "truncated" in reasons["image-2"]
        assert "No such file" in reasons["image-4"]
        assert reasons["image-6"] == "no image"
        assert not any(str(tmp_path) in reason or "0x" in reason for reason in reasons.values())


def test_nothing_decodable_is_an_error_and_leaves_nothing(tmp_path):
    with pytest.raises(CorpusError, match="none of 2 images can be decoded"):
        resize_to_cache(corpus([b"no", b"nor this"]), 16, tmp_path)
    with pytest.raises(CorpusError, match="no rows"):
        resize_to_cache(corpus([]), 16, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    class FullWriter(cache.ArrowWriter):
        def write_table(self, *arguments, **options):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache, "ArrowWriter", FullWriter)
    with pytest.raises(CorpusError, match=r"cache_dir: .*No space left on device.*free some space") as error:
        resize_to_cache(corpus([photograph(0)]), 16, tmp_path)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_another_process_may_finish_first(tmp_path, monkeypatch):
    source = corpus([photograph(0)])
    finished = resize_to_cache(source, 16, tmp_path / "a")

    class RivalWriter(cache.ArrowWriter):
        def finalize(self, *arguments, **options):
            monkeypatch.setattr(cache, "ArrowWriter", original)
            resize_to_cache(source, 16, tmp_path / "b")
            return super().finalize(*arguments, **options)

    original = cache.ArrowWriter
    monkeypatch.setattr(cache, "ArrowWriter", RivalWriter)
    raced = resize_to_cache(source, 16, tmp_path / "b")
    assert np.array_equal(pixels(raced.dataset), pixels(finished.dataset))
    assert [path.name for path in (tmp_path / "b").iterdir()] == [finished.fingerprint]


def test_size_must_be_positive(tmp_path):
    with pytest.raises(ConfigError, match="image_size: 0"):
        resize_to_cache(corpus([photograph(0)]), 0, tmp_path)


def test_pixels_follow_the_indices(tmp_path):
    images = [photograph(row, 16, 16) for row in range(4)]
    array = pixels(corpus(images), [3, 0, 3])
    assert array.dtype == np.uint8
    assert array.shape == (3, 16, 16, 3)
    for values, row in zip(array, [3, 0, 3], strict=True):
        assert np.array_equal(values, np.asarray(images[row]))
    assert len(pixels(corpus(images), [])) == 0


def test_pixels_of_different_sizes_are_refused():
    with pytest.raises(CorpusError, match="row 1 is 20 x 16 pixels, others are 16 x 16"):
        pixels(corpus([photograph(0, 16, 16), photograph(1, 20, 16)]))


def test_real_photographs_are_cached_quickly(real_data, tmp_path):
    paths = [str(path) for path in sorted((real_data / "fitzpatrick17k" / "images").iterdir())[:400]]
    start = time.perf_counter()
    cached = resize_to_cache(corpus(paths), 64, tmp_path)
    assert time.perf_counter() - start < 20, "4,087 images are to take under a minute on two free cores"
    assert cached.quarantined == []
    array = pixels(cached.dataset)
    assert array.shape == (400, 64, 64, 3)
    assert array.std(axis=(1, 2, 3)).min() > 1


def as_before(source: Dataset, size: int, crop: str) -> str:
    """The fingerprint that a corpus had before anything but plain files was read as it is meant."""
    settings = {
        "version": 1,
        "size": size,
        "crop": crop,
        "pillow": PIL.__version__,
        "features": repr(sorted(source.features.to_dict().items())),
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for row in source.with_format("arrow")[:].to_pylist():
        one = hashlib.sha256(repr([(name, row[name]) for name in sorted(row) if name != "image"]).encode())
        one.update(hashlib.sha256(row["image"]["bytes"]).digest())
        digest.update(one.digest())
    return digest.hexdigest()[:32]


def stored(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_plain_images_keep_the_fingerprint_that_recorded_results_stand_on(tmp_path):
    plain = [stored(photograph(0)), stored(photograph(1), "JPEG"), stored(photograph(2).convert("L"))]
    assert resize_to_cache(corpus(plain), 16, tmp_path).fingerprint == as_before(corpus(plain), 16, "centre")
    for other in (
        stored(photograph(0).convert("RGBA")),
        stored(photograph(0), icc_profile=display_p3()),
        stored(photograph(0), icc_profile=b"junk"),
        stored(Image.fromarray(np.arange(900, dtype=np.uint16).reshape(30, 30))),
        stored(photograph(0), "TGA"),
        stored(photograph(0), "TIFF", save_all=True, append_images=[photograph(1)]),
    ):
        source = corpus([*plain, other])
        assert resize_to_cache(source, 16, tmp_path).fingerprint != as_before(source, 16, "centre")


def test_the_bit_depth_changes_deep_images_alone(tmp_path):
    plain = corpus([stored(photograph(0))])
    without, asked = (resize_to_cache(plain, 16, tmp_path, bit_depth=depth) for depth in (None, 12))
    assert without.fingerprint == asked.fingerprint
    assert without.warnings == []
    assert asked.warnings == ["corpus.bit_depth (12) changes nothing: no image has 16 bits a channel"]
    assert resize_to_cache(plain, 16, tmp_path).warnings == []
    deep = corpus([stored(Image.fromarray(np.full((30, 30), 2048, np.uint16)))])
    without, asked = (resize_to_cache(deep, 16, tmp_path, bit_depth=depth) for depth in (None, 12))
    assert without.fingerprint != asked.fingerprint
    assert (pixels(without.dataset)[0, 0, 0, 0], pixels(asked.dataset)[0, 0, 0, 0]) == (8, 128)
    assert any("corpus.bit_depth 12" in said for said in without.warnings)
    again = resize_to_cache(deep, 16, tmp_path)
    assert again.warnings == without.warnings
    assert asked.warnings == ["1 image (such as image-0): samples from 0 to 4,095 become 0 to 255"]


def test_crops_are_kept_with_the_cache_and_told_apart(tmp_path):
    source = corpus([photograph(0), photograph(1)])
    boxes = {"image-0": (10, 5, 10, 10), "image-1": (40, 20, 8, 8)}
    moved = boxes | {"image-1": (41, 20, 8, 8)}
    made = [
        resize_to_cache(source, 16, tmp_path, crop=crop)
        for crop in (
            Crop(),
            Crop("pad"),
            Crop("longest"),
            Crop("box", 0.0, boxes),
            Crop("box", 0.0, moved),
            Crop("box", 0.5, boxes),
        )
    ]
    assert len({one.fingerprint for one in made}) == len(made)
    assert made[0].frames == {}
    assert made[1].frames["image-0"] == (0, -15, 60, (0, 0, 60, 30))
    assert made[3].frames["image-0"].shown == (10, 5, 20, 15)
    again = resize_to_cache(source, 16, tmp_path, crop=Crop("box", 0.0, boxes))
    assert again.frames == made[3].frames
    one = resize_to_cache(source, 16, tmp_path, crop=Crop("box", 0.0, {"image-0": (0, 0, 9, 9)}))
    assert one.quarantined == [("image-1", "corpus.crop is box, and no box is given for it")]

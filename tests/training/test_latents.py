from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import psutil
import pytest
import torch
from accelerate import Accelerator
from datasets import Image as ImageFeature
from PIL import Image
from safetensors.torch import load_file, save_file

from skindiff.errors import GeneratorError, LaunchError
from skindiff.generators.text_to_image.loading import load_pipeline
from skindiff.generators.text_to_image.stable_diffusion import StableDiffusion
from skindiff.peers import Peers
from skindiff.training import encoding
from skindiff.training.encoding import encode_tables, image_array
from skindiff.training.latents import LatentMoments, MappedRows
from tests.tiny import TINY_SIZE, tiny_corpus, tiny_pipeline


def encode(pipeline, dataset, folder: Path, *, size: int = TINY_SIZE, **settings) -> LatentMoments:
    """Encode one table by one process."""
    (moments,) = encode_tables(Accelerator(cpu=True), pipeline, [dataset], folder, size=size, **settings)
    assert isinstance(moments, LatentMoments)
    return moments


def all_of(moments: LatentMoments) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of every row, (rows, views, ...)."""
    rows = torch.arange(moments.mean.shape[0])
    found = [
        torch.stack([tensors[rows, view] for view in range(moments.variants)], 1)
        for tensors in (moments.mean, moments.std)
    ]
    return found[0], found[1]


def test_moments_are_those_of_the_autoencoder(tmp_path: Path) -> None:
    pipeline, dataset = tiny_pipeline(), tiny_corpus(5)
    vae = pipeline.vae
    moments = encode(pipeline, dataset, tmp_path, flip=True, batch_size=2)
    assert moments.mean.shape == moments.std.shape == (5, 2, 4, 8, 8)
    mean, std = all_of(moments)
    pixels = torch.from_numpy(np.stack([image_array(image, TINY_SIZE) for image in dataset["image"]]))
    for variant, images in enumerate((pixels, pixels.flip(-1))):
        posterior = vae.encode(images).latent_dist
        scale = vae.config.scaling_factor
        torch.testing.assert_close(mean[:, variant], posterior.mean * scale, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(std[:, variant], posterior.std * scale, atol=1e-5, rtol=1e-4)


def test_samples_are_drawn_anew_around_the_mean(tmp_path: Path) -> None:
    moments = encode(tiny_pipeline(), tiny_corpus(2), tmp_path)
    rows, variants = torch.zeros(4096, dtype=torch.int64), torch.zeros(4096, dtype=torch.int64)
    samples = moments.sample(rows, variants, torch.randn(4096, *moments.shape))
    torch.testing.assert_close(samples.std(0), moments.std[rows[:1], 0][0], rtol=0.1, atol=1e-3)
    assert not torch.equal(samples[0], samples[1])


def test_the_second_call_reads_what_the_first_one_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline, dataset = tiny_pipeline(), tiny_corpus(3)
    first = encode(pipeline, dataset, tmp_path)
    monkeypatch.setattr(pipeline.vae, "encode", None)
    second = encode(pipeline, dataset, tmp_path)
    assert all(map(torch.equal, all_of(first), all_of(second)))
    assert [path.name for path in tmp_path.iterdir()] == [f"latents-{first.key}"]


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*.safetensors"))}


def share(pipeline, dataset, folder: Path, index: int, count: int) -> None:
    """Encode the share of one process of several, the others of which never come."""

    class Alone:
        def meet(self, doing: str) -> None:
            raise LaunchError(doing)

    process = SimpleNamespace(process_index=index, num_processes=count, is_main_process=index == 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Peers, "of", lambda *_: Alone())
        with pytest.raises(LaunchError, match="encoding images"):
            encode_tables(process, pipeline, [dataset], folder, size=TINY_SIZE, flip=True, batch_size=2)


def test_a_shard_is_the_same_whichever_process_writes_it_and_a_killed_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "MOST_SHARDS", 3)
    pipeline, dataset = tiny_pipeline(), tiny_corpus(11)
    whole = encode(pipeline, dataset, tmp_path / "one", flip=True, batch_size=2)
    expected = shards(tmp_path / "one")
    spans = ("00000000-00000004", "00000004-00000008", "00000008-00000011")
    names = [f"{view}-{span}.safetensors" for view in ("image", "mirrored") for span in spans]
    assert list(expected) == names

    with monkeypatch.context() as patch:  # killed before its first shard is whole
        patch.setattr(encoding, "save_file", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            encode(pipeline, dataset, tmp_path / "many", flip=True, batch_size=2)
    assert not shards(tmp_path / "many")
    for index in (1, 0):
        share(pipeline, dataset, tmp_path / "many", index, 3)
        written = [names[index], names[3 + index]]
        assert set(shards(tmp_path / "many")) >= set(written)
    assert len(shards(tmp_path / "many")) == 4
    encoded: list[int] = []
    encode_moments = StableDiffusion.encode_moments
    monkeypatch.setattr(
        StableDiffusion,
        "encode_moments",
        lambda self, own, images: (encoded.append(len(images)), encode_moments(self, own, images))[1],
    )
    found = encode(pipeline, dataset, tmp_path / "many", flip=True, batch_size=2)
    assert encoded == [2, 2, 1, 1]  # the third shard alone, each batch in both views
    assert shards(tmp_path / "many") == expected
    assert all(map(torch.equal, all_of(found), all_of(whole)))


def test_a_shard_that_was_cut_off_is_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pipeline, dataset = tiny_pipeline(), tiny_corpus(3)
    encode(pipeline, dataset, tmp_path)
    (path,) = tmp_path.rglob("*.safetensors")
    whole = path.read_bytes()
    path.write_bytes(whole[:-8])
    encode(pipeline, dataset, tmp_path)
    assert path.read_bytes() == whole
    assert [record for record in caplog.messages if "is damaged: its images are encoded again" in record]


def test_mirror_images_are_encoded_of_what_is_trained_on_alone(tmp_path: Path) -> None:
    pipeline, tables = tiny_pipeline(), [tiny_corpus(3), tiny_corpus(2, seed=1)]
    train, validation = encode_tables(
        Accelerator(cpu=True), pipeline, tables, tmp_path, size=TINY_SIZE, flip=True
    )
    assert isinstance(train, LatentMoments)
    assert isinstance(validation, LatentMoments)
    assert (train.variants, validation.variants) == (2, 1)
    both = encode(pipeline, tables[1], tmp_path, flip=True)  # now it is: the rest is added
    assert (both.variants, both.key) == (2, validation.key)
    assert torch.equal(all_of(both)[0][:, :1], all_of(validation)[0])


def test_half_precision_costs_less_than_the_spread_of_the_posterior(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline, dataset = load_pipeline("bundled"), tiny_corpus(6)
    exact = encode(pipeline, dataset, tmp_path, size=64)
    half = encode(pipeline, dataset, tmp_path, size=64, precision="float16")
    assert half.key != exact.key
    (mean, std), (rounded, rounded_std) = all_of(exact), all_of(half)
    assert rounded.dtype == torch.float32
    error = (rounded - mean).abs()
    assert 0 < error.square().mean().sqrt() < 0.1 * std.square().mean().sqrt()
    torch.testing.assert_close(rounded_std, std, rtol=1e-3, atol=1e-7)
    sizes = [path.stat().st_size for path in sorted(tmp_path.rglob("*.safetensors"))]
    assert min(sizes) < 0.55 * max(sizes)
    assert not caplog.messages


def test_an_autoencoder_whose_spread_rounding_exceeds_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = tiny_pipeline()
    pipeline.vae.quant_conv.bias.data[4:] = -30.0
    pipeline.vae.quant_conv.weight.data[4:] = 0.0
    encode(pipeline, tiny_corpus(2), tmp_path)
    assert not caplog.messages
    encode(pipeline, tiny_corpus(2), tmp_path, precision="float16")
    (said,) = caplog.messages
    assert "latent_precision is float16, which moves latents by" in said


def test_latents_are_mapped_and_not_read_whole(tmp_path: Path) -> None:
    tensors = {"mean": torch.zeros(64, 4, 256, 256), "std": torch.ones(64, 4, 256, 256)}
    save_file(tensors, tmp_path / "shard.safetensors")
    del tensors
    before = psutil.Process().memory_info().rss
    read = load_file(tmp_path / "shard.safetensors")
    rows = MappedRows([[read["std"]]], 64)
    assert rows[torch.tensor([5, 40]), 0].mean() == 1
    assert psutil.Process().memory_info().rss - before < 0.2 * (tmp_path / "shard.safetensors").stat().st_size


def test_the_key_follows_contents_size_flips_and_weights(tmp_path: Path) -> None:
    pipeline, dataset = tiny_pipeline(), tiny_corpus(3)

    def key(pipeline=pipeline, dataset=dataset, size=TINY_SIZE, flip=False) -> str:
        return encode(pipeline, dataset, tmp_path, size=size, flip=flip).key

    keys = [
        key(),
        key(pipeline=tiny_pipeline(seed=1)),
        key(dataset=tiny_corpus(3, seed=1)),
        key(dataset=dataset.select([0, 2, 1])),
        key(size=16),
        key(flip=True),
    ]
    assert len(set(keys)) == len(keys)
    assert key(dataset=tiny_corpus(3)) == keys[0]


def test_files_are_keyed_by_their_bytes_not_their_names(tmp_path: Path) -> None:
    pipeline = tiny_pipeline()
    keys = []
    for folder, colour in (("a", 10), ("b", 10), ("c", 11)):
        path = tmp_path / folder / "image.png"
        path.parent.mkdir()
        Image.new("RGB", (TINY_SIZE, TINY_SIZE), (colour, 0, 0)).save(path)
        dataset = tiny_corpus(1).remove_columns("image").add_column("image", [str(path)])
        dataset = dataset.cast_column("image", ImageFeature())
        keys.append(encode(pipeline, dataset, tmp_path).key)
    assert keys[0] == keys[1] != keys[2]


def test_images_are_cut_to_their_centre() -> None:
    image = Image.new("RGB", (60, 20), (0, 0, 0))
    image.paste((255, 255, 255), (20, 0, 40, 20))
    assert image_array(image, 20).min() == 1.0
    assert image_array(image.convert("L"), 10).shape == (3, 10, 10)


def test_latents_that_are_not_finite_are_refused_and_not_kept(tmp_path: Path) -> None:
    pipeline = tiny_pipeline()
    torch.nn.init.constant_(pipeline.vae.quant_conv.weight, float("nan"))
    with pytest.raises(GeneratorError, match="not finite"):
        encode(pipeline, tiny_corpus(1), tmp_path)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_training_refuses_an_autoencoder_with_a_shift(tmp_path: Path) -> None:
    pipeline = tiny_pipeline()
    pipeline.vae.register_to_config(shift_factor=0.1)
    with pytest.raises(GeneratorError, match=r"shift_factor of 0\.1"):
        encode(pipeline, tiny_corpus(1), tmp_path)
    assert not list(tmp_path.rglob("*.safetensors"))

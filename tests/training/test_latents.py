from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Image as ImageFeature
from PIL import Image

from skindiff.errors import GeneratorError
from skindiff.training.latents import encode_latents, image_array
from tests.tiny import TINY_SIZE, tiny_corpus, tiny_pipeline


def test_moments_are_those_of_the_autoencoder(tmp_path: Path) -> None:
    pipeline, dataset = tiny_pipeline(), tiny_corpus(5)
    vae = pipeline.vae
    moments = encode_latents(pipeline, dataset, tmp_path, size=TINY_SIZE, flip=True, batch_size=2)
    assert moments.mean.shape == moments.std.shape == (5, 2, 4, 8, 8)
    pixels = torch.from_numpy(np.stack([image_array(image, TINY_SIZE) for image in dataset["image"]]))
    for variant, images in enumerate((pixels, pixels.flip(-1))):
        posterior = vae.encode(images).latent_dist
        scale = vae.config.scaling_factor
        torch.testing.assert_close(moments.mean[:, variant], posterior.mean * scale, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(moments.std[:, variant], posterior.std * scale, atol=1e-5, rtol=1e-4)


def test_samples_are_drawn_anew_around_the_mean(tmp_path: Path) -> None:
    moments = encode_latents(tiny_pipeline(), tiny_corpus(2), tmp_path, size=TINY_SIZE)
    rows, variants = torch.zeros(4096, dtype=torch.int64), torch.zeros(4096, dtype=torch.int64)
    samples = moments.sample(rows, variants, torch.randn(4096, *moments.shape))
    torch.testing.assert_close(samples.std(0), moments.std[0, 0], rtol=0.1, atol=1e-3)
    assert not torch.equal(samples[0], samples[1])


def test_the_second_call_reads_the_first_ones_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline, dataset = tiny_pipeline(), tiny_corpus(3)
    first = encode_latents(pipeline, dataset, tmp_path, size=TINY_SIZE)
    monkeypatch.setattr(pipeline.vae, "encode", None)
    second = encode_latents(pipeline, dataset, tmp_path, size=TINY_SIZE)
    assert torch.equal(first.mean, second.mean)
    assert torch.equal(first.std, second.std)
    assert [path.name for path in tmp_path.iterdir()] == [f"latents-{first.key}.safetensors"]


def test_the_key_follows_contents_size_flips_and_weights(tmp_path: Path) -> None:
    pipeline, dataset = tiny_pipeline(), tiny_corpus(3)

    def key(pipeline=pipeline, dataset=dataset, size=TINY_SIZE, flip=False) -> str:
        return encode_latents(pipeline, dataset, tmp_path, size=size, flip=flip).key

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
        keys.append(encode_latents(pipeline, dataset, tmp_path, size=TINY_SIZE).key)
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
        encode_latents(pipeline, tiny_corpus(1), tmp_path, size=TINY_SIZE)
    assert not list(tmp_path.iterdir())


def test_a_training_refuses_an_autoencoder_with_a_shift(tmp_path: Path) -> None:
    pipeline = tiny_pipeline()
    pipeline.vae.register_to_config(shift_factor=0.1)
    with pytest.raises(GeneratorError, match=r"shift_factor of 0\.1"):
        encode_latents(pipeline, tiny_corpus(1), tmp_path, size=TINY_SIZE)
    assert not list(tmp_path.iterdir())

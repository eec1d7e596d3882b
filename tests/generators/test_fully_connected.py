import pytest
import torch
from torch import nn

from skindiff.generators.class_conditional import ClassConditionalPipeline
from skindiff.generators.fully_connected import (
    FcAutoencoder,
    FcAutoencoderPipeline,
    FcCvae,
    FcCvaePipeline,
)
from tests.generators.vae_contract import (
    check_every_weight_moves,
    check_shown_images,
)


def tiny_autoencoder() -> FcAutoencoderPipeline:
    torch.manual_seed(0)
    return FcAutoencoderPipeline(FcAutoencoder(9, 1, 3, [16, 8]), ["a", "b"], 9, 1)


def tiny_cvae() -> FcCvaePipeline:
    torch.manual_seed(0)
    return FcCvaePipeline(FcCvae(2, 9, 3, 4, [16, 8]), ["a", "b"], 9, 3)


both = pytest.mark.parametrize("pipeline", [tiny_autoencoder(), tiny_cvae()], ids=["autoencoder", "cvae"])


def hidden(part: nn.Sequential) -> int:
    return sum(isinstance(layer, nn.Linear) for layer in part) - 1


def test_hidden_layers_of_s2_section_3_2() -> None:
    autoencoder, cvae = FcAutoencoder(), FcCvae(classes=11)
    assert hidden(autoencoder.encoder) == hidden(autoencoder.decoder) == 4
    assert hidden(cvae.encoder) == hidden(cvae.decoder) == 2
    assert cvae.encoder[0].in_features == 28 * 28 + 11, "pixels and one-hot class"
    assert cvae.decoder[0].in_features == 20 + 11, "code and one-hot class"


@both
def test_every_weight_moves(pipeline: ClassConditionalPipeline) -> None:
    check_every_weight_moves(pipeline)


def test_the_autoencoder_re_draws_what_it_is_shown() -> None:
    check_shown_images(tiny_autoencoder())

import math

import torch

from skindiff.generators.joint_vae import JointVAE, JointVAEPipeline, discrete_divergence, gumbel_noise
from tests.generators.vae_contract import (
    check_every_weight_moves,
    check_shown_images,
    count,
    drawn,
    generators,
    pictures,
)


def tiny(channels: int = 3) -> JointVAEPipeline:
    torch.manual_seed(0)
    network = JointVAE(16, channels, continuous_dim=4, discrete_dim=3, widths=[4, 8, 8])
    return JointVAEPipeline(network, ["a", "b"], 16, channels)


def test_parameters_of_s3_fig_22_and_fig_23_layer_by_layer() -> None:
    network = JointVAE()
    assert count(network.encoder) == 1_570_560, "Fig. 23, encoder"
    assert count(network.decoder.hidden) == 1_568_160, "Fig. 22, decoder hidden layers"
    assert count(network.decoder.output) == 19_491, "Fig. 22, decoder output layer"
    start = network.decoder.input
    assert (start.in_features, start.out_features) == (110, 2048), "Fig. 22, decoder input layer"
    rows = [count(part) for part in network.encoder if count(part)]
    assert rows == [896, 64, 18_496, 128, 73_856, 256, 295_168, 512, 1_180_160, 1_024], "Fig. 23"


def test_the_discrete_width_of_the_papers_text_is_a_setting() -> None:
    assert JointVAE(discrete_dim=50).decoder.input.in_features == 150


def test_every_weight_moves() -> None:
    check_every_weight_moves(tiny())


def test_it_re_draws_what_it_is_shown() -> None:
    for channels in (1, 3):
        check_shown_images(tiny(channels))


def test_the_label_plays_no_part_and_the_noise_does() -> None:
    pipeline = tiny()
    assert torch.equal(drawn(pipeline, [0], [1]), drawn(pipeline, [1], [1]))
    shown = pictures(pipeline, 1)

    def redrawn(seed: int, **options: str) -> torch.Tensor:
        return pipeline(0, images=shown, generator=generators(seed), output_type="pt", **options).images

    assert not torch.equal(redrawn(1), redrawn(2))
    assert torch.equal(redrawn(1, code="mode"), redrawn(2, code="mode"))


def test_gumbel_noise_has_the_mean_and_spread_of_its_distribution() -> None:
    noise = gumbel_noise(200_000, torch.Generator().manual_seed(0))
    assert abs(noise.mean().item() - 0.5772) < 0.01
    assert abs(noise.var().item() - math.pi**2 / 6) < 0.03


def test_the_discrete_divergence_runs_from_nothing_to_log_k() -> None:
    found = discrete_divergence(torch.tensor([[0.0, 0, 0, 0], [200.0, 0, 0, 0]]))
    torch.testing.assert_close(found, torch.tensor([0.0, math.log(4)]), atol=1e-6, rtol=0)

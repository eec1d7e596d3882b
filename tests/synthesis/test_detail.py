import torch

from skindiff.synthesis.detail import restore_detail


def picture(level: float, *, hair: float | None = None) -> torch.Tensor:
    image = torch.full((1, 3, 8, 8), level)
    if hair is not None:
        image[..., 3] = hair
    return image


def test_an_unchanged_reconstruction_gets_its_source_back() -> None:
    generator = torch.Generator().manual_seed(0)
    source = torch.rand(2, 3, 8, 8, generator=generator) * 0.5 + 0.4
    blurred = source.mean((2, 3), keepdim=True).expand_as(source)

    restored = restore_detail(blurred, source, blurred, torch.tensor([1.0, 1.0]))

    assert (restored - source).abs().max() < 0.05
    assert torch.corrcoef(torch.stack([restored.flatten(), source.flatten()]))[0, 1] > 0.99
    torch.testing.assert_close(
        restore_detail(blurred, source, blurred, torch.tensor([0.0, 0.0])), blurred, atol=1e-5, rtol=0
    )


def test_a_hair_comes_back_on_another_tone_in_proportion() -> None:
    source, reconstruction, dark = picture(0.8, hair=0.4), picture(0.8), picture(0.4)

    restored = restore_detail(dark, source, reconstruction, torch.ones(1))

    skin, hair = restored[0, 0, 0, 0], restored[0, 0, 0, 3]
    assert 0.38 < float(skin) < 0.5
    assert 0.05 < float(hair) < 0.25


def test_each_image_has_its_own_amount_and_none_changes_its_tone() -> None:
    source, reconstruction = picture(0.8, hair=0.4).repeat(2, 1, 1, 1), picture(0.5).repeat(2, 1, 1, 1)
    drawn = picture(0.5).repeat(2, 1, 1, 1)

    restored = restore_detail(drawn, source, reconstruction, torch.tensor([0.0, 1.0]))

    torch.testing.assert_close(restored[0], drawn[0], atol=1e-5, rtol=0)
    assert restored[1].std() > 0.05
    linear = ((restored[1] + 0.055) / 1.055) ** 2.4
    assert abs(float(linear.log().mean().exp()) - ((0.5 + 0.055) / 1.055) ** 2.4) < 1e-3


def test_nan_stays_nan() -> None:
    drawn = picture(float("nan"))
    assert restore_detail(drawn, picture(0.5), picture(0.5), torch.ones(1)).isnan().all()

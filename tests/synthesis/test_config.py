from dataclasses import replace

import pytest

from skindiff.errors import ConfigError
from skindiff.synthesis import config as config_module
from skindiff.synthesis.config import SynthesisConfig


@pytest.mark.parametrize(("settings", "message"), [
    ({"strength": 0.0}, "synthesis.strength: 0.0 .* try 0.3"),
    ({"strength": 1.2}, "synthesis.strength: 1.2 .* try 0.3"),
    ({"strength": 0.3, "steps": 3}, "synthesis.steps: 3 .* raise steps to 4 or more"),
    ({"strength": 0.09, "steps": 11}, "raise steps to 12 or more"),
    ({"guidance_scale": 0.5}, "synthesis.guidance_scale: 0.5 .* use 1 or more"),
    ({"targets": []}, r"synthesis.targets: \[\]"),
    ({"targets": ["V", "V"]}, "must name at least one, and each once"),
    ({"images_per_source": 0}, "synthesis.images_per_source: 0"),
    ({"batch_size": 0}, "synthesis.batch_size: 0"),
    ({"tone_strength": -1.0}, "synthesis.tone_strength: -1.0"),
    ({"detail": 1.5}, "synthesis.detail: 1.5"),
    ({"image_size": 65}, "synthesis.image_size: 65"),
    ({"scheduler": "dpm"}, "synthesis.scheduler: 'dpm' is unknown; use one of dpmsolver"),
])  # fmt: skip
def test_settings_that_cannot_work_are_named_with_a_way_out(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(SynthesisConfig(), **settings).validate("synthesis.")


def test_one_step_is_enough_and_text_to_image_needs_no_strength() -> None:
    replace(SynthesisConfig(), strength=0.3, steps=4).validate()
    replace(SynthesisConfig(), mode="txt2img", strength=0.1, steps=5).validate()


def test_offload_without_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_module, "get_device", lambda: "cpu")
    with pytest.raises(ConfigError, match=r"^synthesis\.offload: true keeps networks off the GPU, and there"):
        SynthesisConfig(offload=True).validate("synthesis.")
    monkeypatch.setattr(config_module, "get_device", lambda: "cuda")
    SynthesisConfig(offload=True).validate("synthesis.")


def test_a_precision_that_a_device_has_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_module, "get_device", lambda: "cpu")
    with pytest.raises(ConfigError, match=r"^synthesis\.dtype is float16, which needs a GPU"):
        SynthesisConfig(dtype="float16").validate("synthesis.")
    monkeypatch.setattr(config_module, "is_bf16_available", lambda: False)
    with pytest.raises(ConfigError, match=r"^synthesis\.dtype is bfloat16, which this device has not"):
        SynthesisConfig(dtype="bfloat16").validate("synthesis.")


def test_a_precision_in_which_torch_draws_other_noise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_module, "same_noise", lambda dtype: False)
    with pytest.raises(
        ConfigError, match=r"^synthesis\.dtype is bfloat16, in which torch .* update torch, or"
    ):
        SynthesisConfig(dtype="bfloat16").validate("synthesis.")
    SynthesisConfig().validate("synthesis.")

"""A step of ours is a step of diffusers' own script: the same loss, gradient and weights.

The values were made by scripts/make_loss_fixtures.py, which executes the scripts' lines; the file names their
commit. The time ids of Stable Diffusion XL are those of crops that begin at neither 0 nor the same place.
"""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from skindiff.corpora.cache import resize_to_cache
from skindiff.synthesis.batches import fixed_threads
from skindiff.training.framings import framings
from tests.tiny import TINY_SIZE
from tests.training.loss_cases import CASES, FIXTURES, ours, pictures


@pytest.mark.parametrize("name", CASES)
def test_a_step_of_lora_is_that_of_the_script(name: str, tmp_path: Path) -> None:
    with safe_open(FIXTURES, "pt") as file:
        assert len(file.metadata()["commit"]) == 40
        own = [key for key in file.keys() if key.partition("/")[0] == name]  # noqa: SIM118
        theirs = {key.partition("/")[2]: file.get_tensor(key) for key in own}
    with fixed_threads(1):
        found = ours(CASES[name], tmp_path)
    assert found.keys() == theirs.keys()
    for key in ("loss", "grad_norm"):
        torch.testing.assert_close(found.pop(key), theirs.pop(key), rtol=1e-5, atol=0)
    for key, weight in found.items():
        torch.testing.assert_close(weight, theirs[key], rtol=1e-5, atol=2e-6)
    assert max(weight.abs().max() for key, weight in found.items() if "lora_B" in key) > 5e-5


def test_the_crops_of_these_steps_are_not_zero(tmp_path: Path) -> None:
    rows = resize_to_cache(pictures(), TINY_SIZE, tmp_path).dataset
    assert framings(rows, TINY_SIZE)[:, 0, :4].tolist() == [[64, 96, 0, 8], [80, 64, 4, 0]]

"""The tokenizer that is built from CLIP's merges."""

import json
from pathlib import Path

from skindiff.generators.text_to_image.clip_tokenizer import clip_tokenizer

SETTINGS = {
    "model_max_length": 77,
    "bos_token": "<|startoftext|>",
    "eos_token": "<|endoftext|>",
    "unk_token": "<|endoftext|>",
    "pad_token": "<|endoftext|>",
    "tokenizer_class": "CLIPTokenizer",
}


def test_it_has_the_ids_of_clip(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer_config.json"
    file.write_text(json.dumps(SETTINGS))
    words = clip_tokenizer(file)
    assert len(words) == 49408
    assert words("a photo").input_ids == [49406, 320, 1125, 49407]
    assert words.convert_tokens_to_ids(["!", "a</w>", "photo</w>", "jekyll</w>"]) == [0, 320, 1125, 49405]
    assert words.convert_tokens_to_ids(["<|startoftext|>", "<|endoftext|>"]) == [49406, 49407]
    assert words("a photo", padding="max_length").input_ids[4:] == [49407] * 73
    file.write_text(json.dumps({**SETTINGS, "pad_token": "!"}))
    assert clip_tokenizer(file)("a photo", padding="max_length").input_ids[4:] == [0] * 73

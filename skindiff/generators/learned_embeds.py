"""The files of learned words in an adapter's folder, which plain diffusers loads too.

With one text encoder a file holds its rows by the name of the token, and ``load_textual_inversion`` takes
the list of files. With several it holds the rows of each by the name that diffusers' scripts give them
(``clip_l`` and ``clip_g``), and ``load_textual_inversion`` takes one after the other, with the token, text
encoder and tokenizer.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from skindiff.errors import GeneratorError
from skindiff.foreign import Malformed
from skindiff.generators.text_to_image.loading import architecture_of
from skindiff.generators.tokens import TokenMap, text_homes, token_ids
from skindiff.weights import read_tensors

_FOLDER = "learned_embeds"


def embedding_files(folder: Path) -> list[str]:
    """Return the files of learned words in an adapter's folder."""
    return [str(path) for path in sorted((folder / _FOLDER).glob("*.safetensors"))]


def save_embeddings(folder: Path, pipeline: Any, tokens: TokenMap) -> None:
    """Write the rows of a pipeline's learned words."""
    (folder / _FOLDER).mkdir()
    ids = token_ids(pipeline, tokens)
    weights = [encoder.get_input_embeddings().weight for _, encoder in text_homes(pipeline)]
    for condition, token in tokens.tokens.items():
        rows = [
            weight[own[condition]].detach().float().cpu().contiguous()
            for weight, own in zip(weights, ids, strict=True)
        ]
        # Of one encoder diffusers takes a file with exactly one key, the token.
        save_file(dict(zip(_keys(pipeline, token), rows, strict=True)), _file(folder, token))


def read_embeddings(
    folder: Path, pipeline: Any, tokens: TokenMap, base: str
) -> list[dict[str, torch.Tensor]]:
    """Return the rows of each condition's word, for each place where learned words live.

    Args:
        folder: of the adapter.
        pipeline: that they are for.
        tokens: of the adapter.
        base: the model that it was trained on, for errors.

    Raises:
        GeneratorError: a file is missing, cannot be read, or is for another model.
    """
    widths = [encoder.get_input_embeddings().embedding_dim for _, encoder in text_homes(pipeline)]
    embeddings: list[dict[str, torch.Tensor]] = [{} for _ in widths]
    for condition, token in tokens.tokens.items():
        keys, path = _keys(pipeline, token), _file(folder, token)
        try:
            rows = read_tensors(path)
            if not set(keys) <= set(rows):
                raise Malformed("it lacks its token")
        except Malformed as error:
            raise GeneratorError(
                f"adapter file {str(path)!r} cannot be read ({error}): train the tokens again, or load it "
                f"into its base model, {base}"
            ) from error
        for key, width, own in zip(keys, widths, embeddings, strict=True):
            expected = (tokens.vectors, width)
            if tuple(rows[key].shape) != expected:
                raise GeneratorError(
                    f"adapter {str(folder)!r} has embeddings of shape {tuple(rows[key].shape)}, this model "
                    f"takes {expected}: load it into its base model, {base}"
                )
            own[condition] = rows[key]
    return embeddings


def _file(folder: Path, token: str) -> Path:
    return folder / _FOLDER / f"{token.strip('<>')}.safetensors"


def _keys(pipeline: Any, token: str) -> list[str]:
    return [home.key or token for home in architecture_of(pipeline).token_homes]

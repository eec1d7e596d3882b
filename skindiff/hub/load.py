"""Bringing artefacts back from the Hub, without running anything that comes with them.

Generators come by :func:`skindiff.load`; what is here are the other kinds, and the folder of an adapter.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import get_token, snapshot_download

from skindiff.errors import HubError
from skindiff.hub.client import RepoType, explain, refuse_bad_id

if TYPE_CHECKING:
    from datasets import Dataset

    from skindiff.classification.networks import SkinClassifier

_KINDS = ("*.safetensors", "*.json", "*.yaml", "*.csv", "*.md", "*.png", "*.txt")
"""Only such files are fetched: no code, nothing pickled."""
_REPORT_HASH = re.compile(r"SHA-256 of the run's `report\.json`: `([0-9a-f]{64})`")


def load_adapter_folder(repo_id: str, *, revision: str | None = None, token: str | None = None) -> Path:
    """Fetch an adapter and return its folder, which :func:`skindiff.generators.adapter.load_adapter` takes.

    Args:
        repo_id: ``owner/name``.
        revision: branch, tag or commit.
        token: of the Hub; the stored one when left out.

    Raises:
        HubError: there is no such repository, it holds no adapter, or the Hub is not reached.
    """
    from skindiff.generators.adapter import TOKENS_FILE
    from skindiff.generators.resolve import fetch_adapter

    with _explained(repo_id, token):
        folder = fetch_adapter(repo_id, revision=revision, token=token)
    return _with(folder, repo_id, TOKENS_FILE, "an adapter")


def load_run(repo_id: str, *, revision: str | None = None, token: str | None = None) -> Path:
    """Fetch the results of a run and return their folder (arguments and errors as above).

    The report must be the one whose SHA-256 its card says, where it says one: this finds damage and careless
    edits, and no forger.
    """
    folder = _fetch(repo_id, "dataset", revision, token)
    _with(folder, repo_id, "report.json", "the results of a run")
    card = folder / "README.md"
    said = _REPORT_HASH.search(card.read_text(encoding="utf-8")) if card.is_file() else None
    if said and hashlib.sha256((folder / "report.json").read_bytes()).hexdigest() != said[1]:
        raise HubError(
            f"repo_id: {repo_id}: report.json is not the one that the card was made from; ask for it to be "
            "pushed again, or give an earlier revision"
        )
    return folder


def load_classifier(
    repo_id: str, *, revision: str | None = None, token: str | None = None
) -> "SkinClassifier":
    """Fetch a classifier, ready to classify RGB images in [0, 1] (arguments and errors as above)."""
    from skindiff.classification.networks import DESCRIPTION_FILE
    from skindiff.hub.timm_format import read_classifier

    folder = _fetch(repo_id, "model", revision, token)
    return read_classifier(_with(folder, repo_id, DESCRIPTION_FILE, "a classifier of skindiff"))


def load_synthetic(repo_id: str, *, revision: str | None = None, token: str | None = None) -> "Dataset":
    """Load a synthetic data set with all its columns (arguments and errors as above)."""
    from datasets import load_dataset

    with _explained(repo_id, token):
        return load_dataset(repo_id, split="train", revision=revision, token=token)


def _fetch(repo_id: str, repo_type: RepoType, revision: str | None, token: str | None) -> Path:
    with _explained(repo_id, token):
        place = snapshot_download(
            repo_id, repo_type=repo_type, revision=revision, token=token, allow_patterns=list(_KINDS)
        )
    return Path(place)


@contextmanager
def _explained(repo_id: str, token: str | None) -> Iterator[None]:
    refuse_bad_id(repo_id)
    secret = token or get_token()
    try:
        yield
    except Exception as error:  # of the Hub, of files and of formats: all end in one line without a token
        raise explain(error, repo_id, secret) from None


def _with(folder: Path, repo_id: str, name: str, what: str) -> Path:
    if not (folder / name).is_file():
        raise HubError(f"repo_id: {repo_id} has no {name}, so it is not {what}; check the id")
    return folder

"""Backbones of the Hub: safetensors of timm alone, at a commit that is said."""

import pytest

from tests.hub.conftest import Client
from tests.hub.server import Hub

PUSH = """
    import pathlib
    import timm, torch
    from huggingface_hub import HfApi
    from timm.models import save_for_hf

    torch.manual_seed(0)
    for name, safe in (("safe", True), ("pickled", False)):
        network = timm.create_model("test_resnet", num_classes=3)
        save_for_hf(network, name, model_config={"num_classes": 3}, safe_serialization=safe)
        api = HfApi()
        api.create_repo(f"me/{name}")
        api.upload_folder(repo_id=f"me/{name}", folder_path=name)
    pathlib.Path("other").mkdir()
    pathlib.Path("safe/model.safetensors").rename("other/model.safetensors")
    api.create_repo("me/other")
    api.upload_folder(repo_id="me/other", folder_path="other")
"""
LOAD = """
    import numpy as np
    from skindiff.errors import ConfigError
    from skindiff.measures.backbones import load_backbone

    pixels = np.zeros((2, 32, 32, 3), np.uint8)
    for name, revision in (("me/safe", None), ("me/safe", "{commit}"), ("me/safe@{commit}", None)):
        found = load_backbone("hf-hub:" + name, revision, image_size=32)
        print(found.revision, found.name, float(found(pixels).sum()), found.digest, sep="|")
    for name in ("me/pickled", "me/other", "me/nothing"):
        try:
            load_backbone("hf-hub:" + name)
        except ConfigError as error:
            print(error)
"""


@pytest.mark.slow
def test_safetensors_come_at_a_commit_and_pickles_not_at_all(hub: Hub, client: Client) -> None:
    client.succeed(PUSH)
    repository = hub.repositories.find("model", "me/safe")
    assert repository is not None
    commit = repository.commits[-1].oid
    load = LOAD.replace("{commit}", commit)
    said = client.succeed(load).splitlines()

    rows = [line.split("|") for line in said[:3]]
    assert [row[0] for row in rows] == [commit] * 3
    assert rows[0][1] == f"hf-hub:me/safe (me/safe@{commit[:12]}, 32 px)"
    assert rows[0][1:] == rows[1][1:] == rows[2][1:]
    assert "hf-hub:me/pickled: me/pickled has no model.safetensors" in said[3]
    assert "hf-hub:me/other: me/other has no model.safetensors or no config.json" in said[4]
    assert "hf-hub:me/nothing: me/nothing is neither in the local cache nor" in said[5]
    for name in ("pickled/.*(config|bin)", "other/.*safetensors"):
        assert hub.count("GET", f"me/{name}") == 0
    assert client.succeed(load, HF_HUB_OFFLINE="1").splitlines()[:3] == said[:3]

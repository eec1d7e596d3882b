"""Every kind of artefact goes to the Hub in one process and comes back in another, by its own library.

The kinds share their processes, since most of the time goes into importing torch.
"""

import textwrap

import pytest

from tests.hub import classifiers_trip, from_scratch_trip, generators_trip, synthetic_trip
from tests.hub.conftest import STRANGER, Client
from tests.hub.server import Hub

CARDS = """
import re, runpy
from huggingface_hub import hf_hub_download

def run_the_card(repo_id, repo_type="model"):
    text = open(hf_hub_download(repo_id, "README.md", repo_type=repo_type), encoding="utf-8").read()
    path = repo_id.split("/")[1] + "_card.py"
    open(path, "w").write(re.search("```python\\n(.*?)```", text, re.DOTALL)[1])
    return runpy.run_path(path)
"""


@pytest.mark.slow
def test_every_kind_comes_back_as_it_went(hub: Hub, client: Client) -> None:
    kinds = (generators_trip, classifiers_trip, synthetic_trip, from_scratch_trip)
    client.folder.mkdir()
    for kind in kinds:
        kind.build(client.folder)

    pushed = client.succeed("\n".join(textwrap.dedent(kind.PUSH) for kind in kinds)).splitlines()
    loaded = client.succeed("\n".join([CARDS, *(textwrap.dedent(kind.LOAD) for kind in kinds)]))

    generators_trip.check(hub, client.folder, pushed[:3])
    classifiers_trip.check(hub, client.folder, loaded)
    synthetic_trip.check(hub, client.folder, pushed[3:])
    from_scratch_trip.check(hub, client.folder)
    assert all(
        repository.private
        for name in hub.repositories.names()
        for kind in ("model", "dataset")
        if (repository := hub.repositories.find(kind, name)) is not None
    )
    outcome = client.run(
        """
        from skindiff.errors import HubError
        from skindiff.hub.load import load_run  # loads no torch
        for name in ("me/set", "me/nothing"):
            try:
                load_run(name)
            except HubError as error:
                print(error)
        """,
        token=STRANGER,
        HF_HOME=str(client.folder / "home of a stranger"),
    )
    assert outcome.out.count("the Hub answered 404") == 2

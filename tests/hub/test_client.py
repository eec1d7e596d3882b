"""Pushing files over HTTP: whole, private, patient, and in one line when it fails."""

import random
import signal
import time
from pathlib import Path

import pytest

from tests.hub.conftest import STRANGER, TOKEN, Client
from tests.hub.server import Fault, Hub

PUSH = """
    import sys
    from pathlib import Path
    from skindiff.errors import HubError
    from skindiff.hub.client import push_files

    files = {"a.txt": b"a text", "folder/b.safetensors": b"b" * 100_000, "c.safetensors": Path("c.bin")}
    Path("c.bin").write_bytes(b"c" * 50_000)
    try:
        pushed = push_files(files, "me/thing", repo_type="model", message="one")
    except HubError as error:
        sys.exit(f"error: {error}")
    assert "torch" not in sys.modules
    print(pushed.repo_id, pushed.repo_type, pushed.private, pushed.url, pushed.revision)
"""
CONTENT = {"a.txt": b"a text", "folder/b.safetensors": b"b" * 100_000, "c.safetensors": b"c" * 50_000}


def test_files_arrive_whole_in_one_private_commit(hub: Hub, client: Client) -> None:
    said = client.succeed(PUSH).split()

    assert said[:4] == ["me/thing", "model", "True", f"{hub.url}/me/thing"]
    assert hub.files("model", "me/thing") == CONTENT
    repository = hub.repositories.find("model", "me/thing")
    assert repository is not None
    assert repository.private
    assert [commit.message for commit in repository.commits] == ["initial commit", "one"]
    assert said[4] == repository.commits[-1].oid
    # A second push of the same sends no file and makes no commit.
    before = hub.count("PUT", "^/storage/")
    client.succeed(PUSH)
    assert (hub.count("PUT", "^/storage/"), len(repository.commits)) == (before, 2)


def test_files_that_are_no_longer_pushed_go_and_those_of_others_stay(hub: Hub, client: Client) -> None:
    push = """
        from skindiff.hub.client import push_files
        def push(files, owns=()):
            push_files(files, "me/thing", repo_type="dataset", message="m", owns=owns, private=False)
        push({"data/0.parquet": b"0", "data/1.parquet": b"1", "notes.txt": b"mine"})
        push({"data/0.parquet": b"new"}, owns=["data/*.parquet"])
    """
    client.succeed(push)
    assert hub.files("dataset", "me/thing") == {"data/0.parquet": b"new", "notes.txt": b"mine"}


def test_a_private_push_does_not_go_to_a_public_repository(hub: Hub, client: Client) -> None:
    hub.repositories.create("model", "me/thing", private=False)
    outcome = client.run(PUSH)
    assert outcome.code == 1
    assert "me/thing exists and is public" in outcome.err
    assert "private=False" in outcome.err
    assert hub.files("model", "me/thing") == {}
    assert hub.count("PUT", "^/storage/") == 0


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault("/repos/create", 401, message="Invalid username or password."), "answered 401"),
        (Fault("/repos/create", 403, message="no write"), "answered 403 (no write): the token has no right"),
        (
            Fault("/commit/", 409, message="A commit has happened since"),
            "answered 409 (A commit has happened",
        ),
        (Fault("/preupload/", 413, message="too large"), "answered 413"),
        (
            Fault("/commit/", 429, headers={"Retry-After": "600"}, message="calm"),
            "answered 429 (calm): the Hub",
        ),
        (Fault("/commit/", 400, message=f"bad line: {TOKEN}"), "answered 400 (bad line: ***)"),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Fault) else None,
)
def test_what_the_hub_refuses_is_said_in_one_line(hub: Hub, client: Client, fault: Fault, said: str) -> None:
    hub.faults.append(fault)
    outcome = client.run(PUSH)
    assert outcome.code == 1
    line = outcome.err.strip().splitlines()[-1]
    assert line.startswith("error: repo_id: me/thing: the Hub ")
    assert said in line
    assert "Traceback" not in outcome.err
    # Called again without the fault it ends as if there had been none.
    client.succeed(PUSH)
    assert hub.files("model", "me/thing") == CONTENT


def test_a_stranger_and_a_nobody_are_told_what_to_do(hub: Hub, client: Client) -> None:
    outcome = client.run(PUSH, token=STRANGER)
    assert "answered 403" in outcome.err
    outcome = client.run(PUSH, token=None)
    assert "hf auth login" in outcome.err
    outcome = client.run(PUSH, HF_HUB_OFFLINE="1")
    assert "error: HF_HUB_OFFLINE is set" in outcome.err
    assert hub.repositories.names() == []


@pytest.mark.slow
def test_a_hub_that_is_busy_for_a_while_is_waited_for(hub: Hub, client: Client) -> None:
    soon = {"Retry-After": "0"}
    hub.faults += [
        Fault("/repos/create", 429, headers=soon),
        Fault("/preupload/", 429, headers=soon),
        Fault("/objects/batch", 503),
        Fault("^/storage/", 500, method="PUT"),
        Fault("/commit/", 429, headers=soon),
        Fault("/commit/", cut=True),
        Fault("/api/", delay=0.3, times=100),
    ]
    client.succeed(PUSH)
    assert hub.files("model", "me/thing") == CONTENT
    assert all(fault.times == 0 for fault in hub.faults[:-1])


def test_a_hub_that_is_away_is_said_so(hub: Hub, client: Client) -> None:
    hub.faults.append(Fault("/repos/create", cut=True, times=100))
    outcome = client.run(PUSH)
    assert "was not reached or the transfer broke off" in outcome.err.splitlines()[-1]


def test_a_push_that_is_killed_can_be_called_again(hub: Hub, client: Client, tmp_path: Path) -> None:
    hub.faults.append(Fault("^/storage/", delay=30.0, method="PUT"))
    process = client.start(PUSH)
    deadline = time.monotonic() + 60
    while hub.count("PUT", "^/storage/") < 2:  # one file arrives, the other hangs
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.3)
    process.kill()
    process.communicate()
    assert hub.files("model", "me/thing") == {}

    before = hub.count("PUT", "^/storage/")
    client.succeed(PUSH)
    assert hub.files("model", "me/thing") == CONTENT
    assert hub.count("PUT", "^/storage/") == before + 1  # the file that had arrived was not sent again


@pytest.mark.slow
def test_twenty_deaths_of_a_push_leave_all_or_nothing(hub: Hub, client: Client) -> None:
    client.succeed(PUSH)
    whole = len(hub.requests)
    chance, died = random.Random(5), 0
    while died < 20:
        name = f"thing{died}"
        process = client.start(PUSH.replace("me/thing", f"me/{name}"))
        last = len(hub.requests) + chance.randrange(1, whole + 1)
        while len(hub.requests) < last and process.poll() is None:
            time.sleep(0.001)
        time.sleep(chance.random() * 0.02)
        process.kill()
        process.communicate()
        died += process.returncode == -signal.SIGKILL
        if name in [one.split("/")[1] for one in hub.repositories.names()]:
            assert hub.files("model", f"me/{name}") in ({}, CONTENT)
        client.succeed(PUSH.replace("me/thing", f"me/{name}"))
        assert hub.files("model", f"me/{name}") == CONTENT
        repository = hub.repositories.find("model", f"me/{name}")
        assert repository is not None
        assert [commit.message for commit in repository.commits] == ["initial commit", "one"]


def test_a_commit_whose_answer_is_lost_is_not_made_twice(hub: Hub, client: Client) -> None:
    lost = """
        from skindiff.hub.client import push_files
        push_files({"a.txt": b"text"}, "me/thing", repo_type="model", message="one")
    """
    hub.faults.append(Fault("/commit/", lose_answer=True))
    client.succeed(lost)
    repository = hub.repositories.find("model", "me/thing")
    assert repository is not None
    assert [commit.message for commit in repository.commits] == ["initial commit", "one"]


def test_tokens_in_files_and_wrong_ids_are_refused_before_anything_is_sent(hub: Hub, client: Client) -> None:
    outcome = client.succeed(
        """
        from skindiff.errors import HubError
        from skindiff.hub.client import push_files
        def attempt(files, name="me/thing", **options):
            try:
                push_files(files, name, repo_type="model", message="m", **options)
            except HubError as error:
                print(error)
        attempt({"log.txt": b"login with hf_" + b"a" * 34})
        attempt({"log.txt": b"secret123!"}, token="secret123!")
        attempt({"a.txt": b""}, name="thing")
        attempt({"a.txt": b""}, name="me/a thing")
        """
    )
    lines = outcome.splitlines()
    assert lines[0] == lines[1] == "log.txt holds what looks like an access token; take it out, and revoke it"
    assert "'thing' is no id of the Hub; give owner/name" in lines[2]
    assert "'me/a thing' is no id" in lines[3]
    assert hub.requests == []

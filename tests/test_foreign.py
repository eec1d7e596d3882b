"""Reading JSON and YAML that a stranger wrote: bounded, and without a word of what is in them."""

import json
import os
import time
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

import pytest

from skindiff.foreign import Malformed, parse_json, read_json, refuse_unlike
from skindiff.foreign_yaml import MOST_YAML, parse_yaml, read_yaml

SECRET = "hunter2"
LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 9)
)
YAML = {
    "deep lists": "a: " + "[" * 50_000,
    "deep mappings": "{a: " * 50_000,
    "deep blocks": "\n".join(f"{' ' * level}a:" for level in range(300)),
    "itself": "a: &a [*a]",
    "itself in a mapping": "a: &a {b: *a}",
    "a billion laughs": LAUGHS,
    "a tag": f"a: !!python/object/apply:os.system ['{SECRET}']",
    "a tag of its own": f"a: !x {SECRET}",
    "no date": "a: 2020-99-99",
    "no number": "a: !!int ''",
    "no truth": f"a: !!bool {SECRET}",
    "a number without end": "a: " + "9" * 5000,
    "sixties": "a: 1" + ":59" * 30_000,
    "infinite": "a: .inf",
    "no YAML": f"a: '{SECRET}",
    "two documents": f"a: 1\n---\n{SECRET}: 2",
    "lists as keys": f"? [{SECRET}]\n: 1\n- 1",
    "control characters": f"{SECRET}\x01",
    "an unknown alias": f"a: *{SECRET}",
    "a merge of nothing": f"<<: {SECRET}",
    "large": "a: b\n" * (MOST_YAML // 4),
}
JSON = {
    "deep lists": "[" * 100_000,
    "deep mappings": '{"a":' * 100_000,
    "closed": "[" * 5000 + "]" * 5000,
    "NaN": f'{{"{SECRET}": NaN}}',
    "infinite": "[1e999]",
    "half a character": f'["{SECRET}\\ud800"]',
    "a number without end": "[" + "9" * 100_000 + "]",
    "no JSON": f"{SECRET}",
    "nothing": "",
    "torn": f'{{"a": "{SECRET}',
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", YAML)
def test_strange_yaml_is_refused_quickly_and_not_quoted(name: str) -> None:
    _refused(parse_yaml, YAML[name])


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", JSON)
def test_strange_json_is_refused_quickly_and_not_quoted(name: str) -> None:
    _refused(parse_json, JSON[name])


def _refused(parse: Any, text: str) -> None:
    began = time.perf_counter()
    with pytest.raises(Malformed) as error:
        parse(text)
    assert time.perf_counter() - began < 5
    assert SECRET not in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 200


def test_what_people_write_is_read() -> None:
    settings = (
        "base: &base {lr: 1.0e-3, date: 2020-01-02}\nown: {<<: *base, name: 'Ö'}\nlist: [1, true, null]"
    )
    found = parse_yaml(settings)
    assert found["own"] | {"name": 0} == {**found["base"], "name": 0}
    assert parse_yaml("") is None
    value = {"a": [1, 2.5, None, True, "Ö", {"b": {}}]}
    assert parse_json(json.dumps(value)) == value


def test_no_device_pipe_or_folder_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("nothing")
    for path in (
        *(tmp_path / name for name in (".", "pipe", "loop", "nowhere", "absent", "x" * 5000, "a\0b")),
        Path("/dev/zero"),
    ):
        for read in (read_json, read_yaml):
            with pytest.raises(Malformed):
                read(path)


def test_links_are_followed_and_a_size_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("[1]")
    (tmp_path / "link").symlink_to("file")
    assert read_json(tmp_path / "link") == [1]
    with pytest.raises(Malformed, match="3 bytes"):
        read_json(tmp_path / "file", 2)
    (tmp_path / "file").write_bytes(b"[\xff]")
    with pytest.raises(Malformed, match="UTF-8"):
        read_json(tmp_path / "link")


class Row(TypedDict):
    name: str
    share: float | None
    kind: NotRequired[Literal["one", "two"]]


class Table(TypedDict, total=False):
    rows: list[Row]
    counts: dict[str, int]
    flag: bool


def test_a_shape_is_checked_to_the_last_value() -> None:
    row = {"name": "a", "share": 1}
    refuse_unlike({"rows": [row, {**row, "share": None, "kind": "two", "new": object()}], "more": 1}, Table)
    refuse_unlike({"counts": {"a": 1}, "flag": True}, Table)
    wrong = {
        "it.rows is no list": {"rows": {"0": row}},
        "it.rows[1] is no mapping": {"rows": [row, []]},
        "it.rows[0] has no share": {"rows": [{"name": "a"}]},
        "it.rows[0].name is not text": {"rows": [{**row, "name": 1}]},
        "it.rows[0].share is not a number": {"rows": [{**row, "share": "1"}]},
        "it.rows[0].kind is none of 'one', 'two'": {"rows": [{**row, "kind": "six"}]},
        "a value of it.counts is not a whole number": {"counts": {"a": True}},
        "it.counts is no mapping": {"counts": None},
        "it.flag is not true or false": {"flag": 1},
        "it is no mapping": [],
    }
    for says, value in wrong.items():
        with pytest.raises(Malformed) as error:
            refuse_unlike(value, Table)
        assert str(error.value) == says
    with pytest.raises(Malformed):
        refuse_unlike({"counts": {"a": 10**400}}, Table)

"""Strange values, and honest content with strange things in it; everything is drawn from a random stream."""

import copy
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 9)
)
TEXTS: tuple[Callable[[], str], ...] = (
    lambda: "[" * 100_000,
    lambda: '{"a":' * 100_000,
    lambda: "[" * 3000 + "]" * 3000,
    lambda: "",
    lambda: "null",
    lambda: "[]",
    lambda: "7",
    lambda: '"x"',
    lambda: '{"a": NaN}',
    lambda: '{"a": "\\ud800"}',
    lambda: "[" + "9" * 5000 + "]",
    lambda: "\x00\x01",
)
YAMLS: tuple[Callable[[], str], ...] = (
    *TEXTS,
    lambda: LAUGHS,
    lambda: "a: &a [*a]",
    lambda: "lora: &a\n  loop: *a",
    lambda: "corpus: &a {phantom: *a}",
    lambda: "a: !!python/object/apply:os.system ['true']",
    lambda: "a: 2020-99-99",
    lambda: "a: !!int ''",
    lambda: "a: .nan",
    lambda: "a: 1\n---\nb: 2",
    lambda: "? [a]\n: 1",
    lambda: "a: '",
    lambda: "- a",
)


def value(rng: random.Random) -> Any:
    """Return a value that is seldom meant."""
    kinds: tuple[Any, ...] = (
        None, True, 0, -1, -3, 1, 7, 10**5, 10**6, 10**9, 10**12, 10**18, 2**63, 10**400, -(10**12),
        0.5, -0.5, 1e-300, 1e300, "", "x", "\x1b[31m", "a\x00b", "../../etc", "x" * 5000, [], {}, [[]],
        [None], {"x": 1}, ["x"], [1, "x"], {"x": {"x": {}}}, [10**6] * 3, "10", "-1",
    )  # fmt: skip
    return copy.deepcopy(rng.choice(kinds))


def places(content: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of every value; of long lists those of three."""
    yield place
    if isinstance(content, dict):
        for key, part in content.items():
            yield from places(part, (*place, key))
    elif isinstance(content, list):
        for number in sorted({0, len(content) // 2, len(content) - 1} if content else ()):
            yield from places(content[number], (*place, number))


def changed(rng: random.Random, content: Any, extra: Sequence[tuple[str, Any]] = ()) -> Any:
    """Return content with one to three strange parts; ``extra`` are names with values to set at the top."""
    content = copy.deepcopy(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if extra and isinstance(content, dict) and rng.random() < 0.5:
            name, new = rng.choice(list(extra))
            content[name] = new
            continue
        place = rng.choice(list(places(content)))
        if not place:
            continue
        inner = content
        for step in place[:-1]:
            inner = inner[step]
        how = rng.random()
        if how < 0.2:
            del inner[place[-1]]
        elif how < 0.35 and isinstance(inner[place[-1]], (int, float)):
            inner[place[-1]] = inner[place[-1]] * rng.choice((-1, 10**6, 1000, 0, 2))
        else:
            inner[place[-1]] = value(rng)
    return content


def json_text(rng: random.Random, content: Any, extra: Sequence[tuple[str, Any]] = ()) -> bytes:
    """Return honest content as JSON with something strange about it."""
    if rng.random() < 0.2:
        return rng.choice(TEXTS)().encode("utf-8", "surrogatepass")
    return torn(rng, json.dumps(changed(rng, content, extra)).encode())


def torn(rng: random.Random, raw: bytes) -> bytes:
    """Return bytes, seldom cut or with some of them changed."""
    how = rng.random()
    if how < 0.05:
        return raw[: rng.randrange(len(raw) + 1)]
    return flipped(rng, raw) if how < 0.1 else raw


def flipped(rng: random.Random, raw: bytes, most: int = 8) -> bytes:
    """Return bytes of which up to eight are others."""
    new = bytearray(raw)
    for _ in range(rng.randint(1, most) if new else 0):
        new[rng.randrange(len(new))] = rng.choice((0, 255, rng.randrange(256)))
    return bytes(new)


_OF_FILES = ("torn", "flipped", "absent", "folder")


def weights(rng: random.Random, file: Path) -> str:
    """Spoil a file of weights; return how."""
    how = rng.choice(
        ("missing", "nan", "inf", "empty", "shape", "dtype", "torn", "flipped", "absent", "folder")
    )
    if how in ("torn", "flipped"):
        raw = file.read_bytes()
        file.write_bytes(
            raw[: rng.randrange(len(raw))] if how == "torn" else flipped(rng, raw[:400]) + raw[400:]
        )
    elif how in ("absent", "folder"):
        file.unlink()
        if how == "folder":
            file.mkdir()
    else:
        kept = load_file(file)
        with safe_open(file, "pt") as opened:
            metadata = opened.metadata()
        _spoil(rng, kept, how)
        save_file(kept, file, metadata=metadata)
    return how


def _spoil(rng: random.Random, kept: dict[str, torch.Tensor], how: str) -> None:
    floats = [name for name, tensor in kept.items() if tensor.is_floating_point() and tensor.numel()]
    name = rng.choice(floats)
    if how == "missing":
        del kept[name]
    elif how == "empty":
        kept.clear()
    elif how == "shape":
        kept[name] = torch.zeros(rng.choice(((1,), (0,), (3, 5), tuple(reversed(kept[name].shape)))))
    elif how == "dtype":
        kept[name] = kept[name].to(rng.choice((torch.int8, torch.float64, torch.bool, torch.float16)))
    else:
        kept[name].view(-1)[rng.randrange(kept[name].numel())] = float(how)


def no_file(rng: random.Random, file: Path, secret: Path) -> None:
    """Put something in the place of a file: a link, a loop, a pipe, a folder, or nothing."""
    if file.is_symlink() or file.is_file():
        file.unlink()
    how = rng.choice(("link", "loop", "nowhere", "pipe", "device", "folder", "absent"))
    if how in ("link", "loop", "nowhere", "device"):
        targets = {
            "link": secret,
            "loop": file,
            "nowhere": file.parent / "absent",
            "device": Path("/dev/zero"),
        }
        file.symlink_to(targets[how])
    elif how == "pipe":
        os.mkfifo(file)
    elif how == "folder":
        file.mkdir()


class Copies:
    """Fresh copies of an honest folder, of which the last is deleted first.

    Args:
        honest: the folder.
        place: where the copies go.
    """

    def __init__(self, honest: Path, place: Path) -> None:
        self.honest, self.place = honest, place

    def fresh(self) -> Path:
        """Return a fresh copy."""
        shutil.rmtree(self.place, ignore_errors=True)
        return Path(shutil.copytree(self.honest, self.place))

"""Rows of a table to files of a folder: at any depth, with or without endings, whatever their Unicode
form."""

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from skindiff.corpora.image_files import EXTRAS, IMAGE_SUFFIXES, is_image
from skindiff.corpora.table_corpus.dialects import plain

_ENDINGS = frozenset(IMAGE_SUFFIXES).union(*(extra.suffixes for extra in EXTRAS.values()))
"""Endings that a table may give a file that is there under another."""


class Ambiguous(ValueError):
    """A name stands for several files."""

    def __init__(self, name: str, files: Sequence[str]) -> None:
        self.files = list(files)
        super().__init__(f"{name!r} stands for {len(files)} images, such as {files[0]!r} and {files[1]!r}")


@dataclass
class ImageFiles:
    """The image files below a folder, found by the names that tables give them."""

    files: dict[str, Path]
    """By path from the folder, with ``/``, in Unicode form NFC; sorted."""
    skipped: Counter[str] = field(default_factory=Counter)
    """How many other files there are, by the endings of their names."""
    moved: list[str] = field(default_factory=list)
    """Names that were found in another folder than they say."""
    renamed: list[str] = field(default_factory=list)
    """Names that were found with another ending than they say."""

    def __post_init__(self) -> None:
        self._by_name: defaultdict[str, list[str]] = defaultdict(list)
        self._by_stem: defaultdict[str, list[str]] = defaultdict(list)
        for path in self.files:
            name = PurePosixPath(path)
            self._by_name[name.name.casefold()].append(path)
            self._by_stem[name.stem.casefold()].append(path)

    def find(self, name: str, *, moved: bool = True) -> str | None:
        """Return the path of the file that a cell names, None if there is none.

        A file of that very name comes first, then one in capitals or small letters, with another folder,
        without the ending, and with another ending.

        Args:
            name: with or without folders and an ending.
            moved: whether a file in another folder than the name says will do.

        Raises:
            Ambiguous: several files are equally near.
        """
        asked = PurePosixPath(plain(name.replace("\\", "/")))
        if str(asked) in self.files:
            return str(asked)
        if not asked.name:
            return None
        found = self._by_name.get(asked.name.casefold()) or self._by_stem.get(asked.name.casefold())
        renamed = not found and asked.suffix.lower() in _ENDINGS
        if renamed:
            found = self._by_stem.get(asked.stem.casefold())
        if not found:
            return None
        nearest = _nearest(asked, found)
        elsewhere = len(asked.parts) > 1 and not _shared(asked, nearest[0])
        if elsewhere and not moved:
            return None
        if len(nearest) > 1:
            raise Ambiguous(name, nearest)
        self.moved += [name] if elsewhere else []
        self.renamed += [name] if renamed else []
        return nearest[0]

    def warnings(self, table: str) -> list[str]:
        """Return what was not as the table says, in words."""
        found = []
        for names, how in ((self.moved, "in another folder"), (self.renamed, "with another ending")):
            if names:
                found.append(
                    f"{len(names)} files were found {how} than {table} says (such as {names[0]}): only their "
                    "names agree"
                )
        return found


def find_images(folder: Path, places: Sequence[str] | None = None) -> ImageFiles:
    """Return every image file of a folder, or of some folders in it, at any depth; hidden ones are not seen.

    Args:
        folder: to search; links to folders are not followed.
        places: folders in it, of which any may be absent.
    """
    files: dict[str, Path] = {}
    skipped: Counter[str] = Counter()
    for start in [folder] if places is None else [folder / place for place in places]:
        for root, folders, names in os.walk(start):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                if name.startswith("."):
                    continue
                file = Path(root, name)
                if is_image(file):
                    files[plain(file.relative_to(folder).as_posix())] = file
                else:
                    skipped[file.suffix.lower() or "no ending"] += 1
    return ImageFiles(dict(sorted(files.items())), skipped)


def _shared(asked: PurePosixPath, path: str) -> int:
    """Return how many folders next to the file agree."""
    count = 0
    for one, other in zip(asked.parts[-2::-1], PurePosixPath(path).parts[-2::-1], strict=False):
        if one.casefold() != other.casefold():
            break
        count += 1
    return count


def _nearest(asked: PurePosixPath, found: Sequence[str]) -> list[str]:
    """Return those files whose folders agree most, then whose name agrees to the letter."""
    shared = {path: _shared(asked, path) for path in found}
    nearest = [path for path in found if shared[path] == max(shared.values())]
    exact = [path for path in nearest if asked.name in (PurePosixPath(path).name, PurePosixPath(path).stem)]
    return exact or nearest

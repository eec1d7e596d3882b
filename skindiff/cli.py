"""The command ``skindiff``: a thin door to the rooms; heavy imports happen inside the commands."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from skindiff import __version__
from skindiff.errors import SkindiffError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0, or 2 after an error that the user can mend (printed as one line)."""
    parser = argparse.ArgumentParser(
        prog="skindiff", description="Diffusion-based augmentation for skin images."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    audit = commands.add_parser("audit", help="find undecodable, tiny, constant and near-duplicate images")
    audit.add_argument("corpus", choices=["fitzpatrick17k", "imagefolder"], help="how the folder is laid out")
    audit.add_argument("--data_dir", required=True, type=Path, help="folder of the corpus")
    audit.add_argument(
        "--output", type=Path, default=Path("audit.csv"), help="csv to write (default: %(default)s)"
    )
    audit.add_argument(
        "--cache_dir",
        type=Path,
        default=Path("runs/cache"),
        help="keeps features for the next call (default: %(default)s)",
    )
    run = commands.add_parser("run", help="run a recipe under accelerate launch", add_help=False)
    run.add_argument("recipe", help="name of a recipe, such as fitz_lora")
    given, rest = parser.parse_known_args(arguments)
    if rest and given.command != "run":
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        return _audit(given) if given.command == "audit" else _run(given.recipe, rest)
    except SkindiffError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _audit(given: argparse.Namespace) -> int:
    from collections import Counter

    from skindiff.corpora.audit import AuditConfig, audit_images, write_audit
    from skindiff.corpora.fitzpatrick17k import image_files
    from skindiff.corpora.imagefolder import ImageFolderConfig, load_imagefolder
    from skindiff.errors import CorpusError

    if given.corpus == "fitzpatrick17k":
        paths = image_files(given.data_dir)
    else:
        paths = load_imagefolder(ImageFolderConfig(data_dir=str(given.data_dir))).paths()
    if not paths:
        raise CorpusError(f"data_dir: {given.data_dir} has no image file; give the folder that holds them")
    rows = audit_images(paths, AuditConfig(), given.cache_dir)
    write_audit(rows, given.output)
    counts = ", ".join(
        f"{count} {status}" for status, count in sorted(Counter(row.status for row in rows).items())
    )
    print(f"{len(rows)} images: {counts}; written to {given.output}")
    return 0


def _run(recipe: str, rest: list[str]) -> int:
    import subprocess

    from skindiff.errors import ConfigError

    package = Path(__file__).parent
    homes = [package / "recipes", package.parent / "recipes"]
    script = next((home / f"{recipe}.py" for home in homes if (home / f"{recipe}.py").is_file()), None)
    if script is None:
        known = sorted({path.stem for home in homes for path in home.glob("*.py")})
        raise ConfigError(f"recipe: there is no {recipe!r}; choose from {', '.join(known)}")
    command = [sys.executable, "-m", "accelerate.commands.launch"]
    if "--config_file" in rest:
        place = rest.index("--config_file")
        command += rest[place : place + 2]
        rest = rest[:place] + rest[place + 2 :]
    return subprocess.run([*command, str(script), *rest], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

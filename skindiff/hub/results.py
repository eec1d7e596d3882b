"""Pushing the results of a run: what may be read by anyone, without what it was computed from."""

import re
from pathlib import Path
from typing import Any

import yaml

from skindiff.errors import HubError
from skindiff.escaping import markdown, prose
from skindiff.foreign import parse_json
from skindiff.foreign_yaml import parse_yaml
from skindiff.hub import usage
from skindiff.hub.cards import Card, coverage_text, dataset_card, eval_results
from skindiff.hub.clean import clean_png, clean_text
from skindiff.hub.client import Content, Pushed, push_files, refuse_bad_id
from skindiff.hub.gates import in_words, refuse_file_names
from skindiff.hub.leaving import NUMBER_PICTURES, files_of, shared_settings
from skindiff.hub.origin import Facts, Origin, find_facts, leaving_report, report_bytes
from skindiff.hub.staging import staged

_PICTURE_LINK = re.compile(r"!\[((?:\\.|[^\]\\])*)\]\(pictures/([^)]+)\)")


def push_run(
    folder: Path | str,
    repo_id: str,
    *,
    licence: str,
    override: str | None = None,
    origin: Origin | None = None,
    private: bool = True,
    token: str | None = None,
) -> Pushed:
    """Push the results of a run: settings, report and pictures; weights, caches and lists of files stay.

    The pictures are those that ``report.md`` shows. Those that may show photographs of the corpus stay at
    home, unless all images are computed (phantom).

    Args:
        folder: the ``output_dir`` of a finished run.
        repo_id: ``owner/name`` of a data set repository.
        licence: of the results, as the Hub names it.
        override: reason to publish pictures of the corpus; it goes into the card.
        origin: corpora; what is left out is read from the run.
        private: whether only the owner may see it.
        token: of the Hub; the stored one when left out.

    Raises:
        HubError: a gate refuses it, the run is unfinished, or the Hub does not take it.
    """
    refuse_bad_id(repo_id)
    folder = Path(folder)
    reason = in_words(override)
    with staged(folder, files_of("run")) as own:
        for name in ("config.yaml", "report.json", "report.md"):
            if not (own / name).is_file():
                raise HubError(f"folder: {own} has no file {name}; give a folder that is finished")
        facts = find_facts(origin, own, licence)
        shown = facts.shows_nobody or reason is not None
        files: dict[str, Content] = {
            "config.yaml": _settings(own),
            **report_files(own, all_pictures=shown),
            "report.json": facts.report_bytes,
        }
        texts = [files[name] for name in ("report.json", "report.md")]
        refuse_file_names(folder, [text.decode() for text in texts if isinstance(text, bytes)])
        card = _card(repo_id.split("/")[1], repo_id, facts, reason)
        files["README.md"] = dataset_card(card, facts, tags=["results"], viewer=False)
        return push_files(
            files,
            repo_id,
            repo_type="dataset",
            message="Push the results of a run with skindiff",
            private=private,
            token=token,
            owns=["pictures/*.png"],
        )


def report_files(own: Path, *, all_pictures: bool) -> dict[str, Content]:
    """Return what a page is made from: a staged run's ``report.md``, its pictures, light and dark, and
    ``report.json`` where it has one.

    Args:
        own: the staged folder.
        all_pictures: those too that may show photographs of the corpus.

    Raises:
        HubError: a picture is not there, or ``report.json`` is none.
    """
    text = clean_text(_without_reading(own).encode()).decode()
    pictures = {
        name: own / "pictures" / name
        for name in sorted({link[2] for link in _PICTURE_LINK.finditer(text)})
        if all_pictures or name.startswith(NUMBER_PICTURES)
    }
    for name, path in pictures.items():
        if "/" in name or not path.is_file():
            raise HubError(f"folder: {own} has no picture {name}; make the report again by --resume")
    text = _PICTURE_LINK.sub(lambda link: link[0] if link[2] in pictures else _withheld(link[1]), text)
    dark = {f"dark/{name}": path.parent / "dark" / name for name, path in pictures.items()}
    shown = {**pictures, **{name: path for name, path in dark.items() if path.is_file()}}
    report = leaving_report(own)
    return {
        **({"report.json": report_bytes(report)} if report else {}),
        "report.md": text.encode(),
        **{f"pictures/{name}": clean_png(path) for name, path in shown.items()},
    }


def _settings(own: Path) -> bytes:
    try:
        read = dict(parse_yaml((own / "config.yaml").read_bytes()))
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise HubError(f"folder: config.yaml of {own} holds no settings; give the folder of a run") from error
    return yaml.safe_dump(shared_settings(read), sort_keys=False, allow_unicode=True).encode()


def report_of(own: Path) -> dict[str, Any]:
    """Return the whole ``report.json`` of a staged run, nothing where there is none.

    Raises:
        HubError: it is no report.
    """
    path = own / "report.json"
    try:
        return dict(parse_json(path.read_bytes())) if path.is_file() else {}
    except (ValueError, TypeError) as error:
        raise HubError(f"run: {path} cannot be read; run the study again with --resume") from error


def _without_reading(own: Path) -> str:
    """Return the text of a report without the lines on what was read of the corpus, which name files."""
    text = (own / "report.md").read_text(encoding="utf-8")
    content = report_of(own)
    told = content.get("reading", content.get("notes", ()))
    lines = {f"- {said}" for note in told for said in (note, prose(note))}
    return "\n".join(line for line in text.split("\n") if line not in lines)


def _card(title: str, repo_id: str, facts: Facts, reason: str | None) -> Card:
    study = markdown(facts.report.get("title", "of a run"))
    why = f"They are included because: {prose(reason)}" if reason else ""
    return Card(
        title=title,
        what=f"Results of the study *{study}*: settings, scores and pictures; the whole report is in "
        "[report.md](report.md).",
        usage=usage.run_usage(repo_id),
        results=eval_results(facts.report),
        coverage=coverage_text(facts),
        limits=[*(str(note) for note in facts.report.get("notes", ())), "Weights and images are not in it."],
        base_model=facts.base_model,
        sections=[("Pictures of the corpus", why)] if reason else (),
    )


def _withheld(caption: str) -> str:
    return f"*({caption} It may show photographs of the corpus, and stays with them.)*"

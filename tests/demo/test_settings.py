"""What a page's fields become in a file and an address, what is said of generators, and which field a refusal
is about."""

from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qsl

import pytest
from huggingface_hub import constants

from scripts.pretrain_tiny_sd import PHANTOM_SUBJECTS
from skindiff.demo import reach
from skindiff.demo.about import BUNDLED_SUBJECTS, about, unknown_words
from skindiff.demo.config import DemoConfig
from skindiff.demo.generator_cache import GeneratorCache
from skindiff.demo.reach import refuse_out_of_reach
from skindiff.demo.refusals import field_at_fault
from skindiff.demo.settings import (
    PAGES,
    address_of,
    page_settings,
    read_address,
    read_settings,
    settings_bytes,
)
from skindiff.demo.words import SWATCHES, TERMS, glossary, type_choice
from skindiff.errors import GeneratorError, SynthesisError


@pytest.mark.parametrize("page", PAGES)
def test_an_address_holds_the_fields_and_no_folder(page: str):
    offered = {"bundled": "bundled", "lora": "/secret/runs/lora"}
    settings = page_settings(page, generator="lora", second="bundled", condition="red patch & <b>", seed="12")
    query = address_of(settings, offered)
    assert "secret" not in query
    found = read_address(dict(parse_qsl(query)), DemoConfig())
    assert found is not None
    assert [found[name] for name in PAGES[page]] == [settings[name] for name in PAGES[page]]
    typed = address_of({**settings, "generator": "/home/ann/model"}, offered)
    assert "generator" not in dict(parse_qsl(typed))


def test_an_address_of_a_stranger_is_read_with_bounds():
    assert read_address({"__theme": "dark"}, DemoConfig()) is None
    assert read_address({"tab": "elsewhere", "seed": "1"}, DemoConfig()) is None
    for wrong in ({"steps": "1e9x"}, {"guidance": "nan"}, {"condition": "x" * 400}, {"tone": "magic"}):
        with pytest.raises(SynthesisError, match="settings: "):
            read_address({"tab": "generate", **wrong}, DemoConfig())


@pytest.mark.parametrize(
    ("page", "wrong"),
    [
        ("generate", {"steps": 100_000}),
        ("generate", {"images": 0}),
        ("compare", {"images": 16}),  # half of what may be made goes to each side
        ("photograph", {"strength": -5}),
        ("photograph", {"guidance": 11}),
    ],
)
def test_a_number_out_of_its_field_is_refused_in_an_address_and_in_a_file(
    tmp_path: Path, page: str, wrong: dict[str, float]
):
    config = DemoConfig(max_images=30, max_steps=50)
    (name,) = wrong
    said = f"settings: {name} is outside "
    with pytest.raises(SynthesisError, match=said):
        read_address({"tab": page} | {name: str(value) for name, value in wrong.items()}, config)
    path = tmp_path / "settings.json"
    path.write_bytes(settings_bytes(page_settings(page, **wrong)))
    with pytest.raises(SynthesisError, match=said):
        read_settings(path, page, config)
    path.write_bytes(settings_bytes(page_settings(page)))
    assert read_settings(path, page, config)["steps"] == 14


def test_a_generator_says_what_it_is_and_which_words_it_was_never_taught(generators: list[str]):
    cache = GeneratorCache(DemoConfig(generators=["bundled", *generators]))
    assert sorted(BUNDLED_SUBJECTS) == sorted(PHANTOM_SUBJECTS)
    bundled = cache.generator("bundled")
    assert about(bundled).startswith("A toy: 64 x 64 pixels")
    assert unknown_words(bundled, ["Psoriasis patch", "red spots"]) == ["psoriasis"]
    assert unknown_words(bundled, DemoConfig().conditions) == []
    assert about(cache.generator("ddpm")).endswith("It knows one, two.")
    assert unknown_words(cache.generator("tiny"), ["psoriasis"]) == []


def test_a_refusal_is_about_one_field():
    for words, field in (
        ("seed: '1.5' is no whole number", "seed"),
        ("Images of each condition and skin type: 90 is outside 1 to 30", "images"),
        ("condition 'x' is no class of 'ddpm'", "condition"),
        ("prompt 'An image of ...' is too long: 20 of its 40 words fit", "condition"),
        ("model '/nowhere': no such folder", "generator"),
        ("second generator: 'a' is the first one too", "second"),
        ("first generator '/a/b': model 'b': no such folder", "generator"),
        ("The photograph is no longer here.", "photograph"),
        ("skin type: generator 'ddpm' knows no skin types", "skin_type"),
        ("This demo is being closed.", None),
    ):
        assert field_at_fault(words) == field, words


def test_a_hub_id_without_a_network_is_refused_at_once(monkeypatch: pytest.MonkeyPatch):
    """Its client tries for eighteen seconds, and everybody else waited."""

    def head(address: str, timeout: float) -> None:
        assert timeout <= 3
        raise OSError("no network")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(reach, "get_session", lambda: SimpleNamespace(head=head))
    with pytest.raises(GeneratorError, match="the Hub does not answer within 3 s; check the network"):
        refuse_out_of_reach("owner/never-heard-of-it@main")
    refuse_out_of_reach("bundled")


def test_every_skin_type_has_a_name_and_a_swatch():
    assert type_choice("V") == "V (dark brown)"
    assert type_choice("female") == "female"
    page = glossary()
    assert all(colour in page for colour in SWATCHES.values())
    assert all(term in page for term in ("ITA", "Strength", "Guidance", "Tone", "Phantom"))
    assert TERMS["Skin type"].startswith("Fitzpatrick")

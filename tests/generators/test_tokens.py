import pytest
import torch

from skindiff.errors import GeneratorError
from skindiff.generators.prompts import prompt_for
from skindiff.generators.text_to_image.stable_diffusion import StableDiffusion
from skindiff.generators.tokens import (
    add_tokens,
    is_placeholder,
    make_token_map,
    placeholder_for,
    token_ids,
)
from tests.tiny import TINY_CLASSES, tiny_pipeline

SEAM = StableDiffusion()


def test_placeholders_depend_on_the_name_alone_and_never_meet() -> None:
    names = ["a b", "A b", "a-b", "a_b", "a  b", "b", "ab", "Café au lait", "湿疹", "suche", "such"]
    placeholders = [placeholder_for(name) for name in names]
    assert len(set(placeholders)) == len(names)
    assert placeholder_for("squamous cell carcinoma") == "<skindiff-squamous-cell-carcinoma>"
    assert make_token_map(names).tokens["a b"] == make_token_map(["a b"]).tokens["a b"]
    long = ["lesion of the " + "a" * 220, "lesion of the " + "a" * 219]  # as long as a folder's name may be
    assert len({placeholder_for(name) for name in long}) == 2
    assert all(is_placeholder(placeholder_for(name)) for name in [*names, *long])
    with pytest.raises(GeneratorError, match="rename"):
        make_token_map(["psoriasis", "psoriasis"])


def test_conditions_that_share_their_first_letters_stay_apart() -> None:
    pipeline = tiny_pipeline()
    (ids,) = add_tokens(pipeline, make_token_map(["psoriasis", "psoriatic arthritis"]))
    assert set(ids["psoriasis"]).isdisjoint(ids["psoriatic arthritis"])


@pytest.mark.parametrize("vectors", [1, 3])
def test_new_rows_start_from_the_initialiser_and_leave_the_others_alone(vectors: int) -> None:
    pipeline = tiny_pipeline()
    before = pipeline.text_encoder.get_input_embeddings().weight.clone()
    tokenizer = pipeline.tokenizer
    tokens = make_token_map(TINY_CLASSES, vectors, "skin")
    (ids,) = add_tokens(pipeline, tokens)
    weight = pipeline.text_encoder.get_input_embeddings().weight
    assert torch.equal(weight[: len(before)], before)
    (skin,) = tokenizer("skin", add_special_tokens=False).input_ids
    for rows in ids.values():
        assert len(rows) == vectors
        assert torch.equal(weight[rows], before[[skin] * vectors])
    assert token_ids(pipeline, tokens) == [ids]
    assert len(tokenizer) == len(before), "whoever held the old tokenizer must keep it"


def test_several_words_may_start_several_vectors() -> None:
    pipeline = tiny_pipeline()
    ids = add_tokens(pipeline, make_token_map(["eczema"], 3, "skin lesion"))[0]["eczema"]
    weight = pipeline.text_encoder.get_input_embeddings().weight
    assert torch.equal(weight[ids[0]], weight[ids[2]])
    assert not torch.equal(weight[ids[0]], weight[ids[1]])


@pytest.mark.parametrize("initialiser", ["skin lesion", "dermatology", ""])
def test_an_initialiser_that_is_not_one_token_is_refused(initialiser: str) -> None:
    with pytest.raises(GeneratorError, match="exactly 1"):
        add_tokens(tiny_pipeline(), make_token_map(["eczema"], 1, initialiser))


def test_a_placeholder_of_the_vocabulary_is_refused_and_nothing_is_changed() -> None:
    pipeline = tiny_pipeline()
    tokens = make_token_map(["eczema"])
    add_tokens(pipeline, tokens)
    rows = pipeline.text_encoder.get_input_embeddings().num_embeddings
    with pytest.raises(GeneratorError, match="<skindiff-eczema> is in the vocabulary"):
        add_tokens(pipeline, tokens)
    assert pipeline.text_encoder.get_input_embeddings().num_embeddings == rows


@pytest.mark.parametrize("vectors", [1, 2])
def test_a_placeholder_becomes_exactly_its_own_ids(vectors: int) -> None:
    pipeline = tiny_pipeline()
    tokens = make_token_map(TINY_CLASSES, vectors)
    (ids,) = add_tokens(pipeline, tokens)
    for condition in TINY_CLASSES:
        (ids_of,) = SEAM.tokenise(pipeline, [prompt_for(tokens.subject(condition), "VI")]).tensors.values()
        row = ids_of[0].tolist()
        assert [one for one in row if one >= min(ids[TINY_CLASSES[0]])] == ids[condition]


@pytest.mark.parametrize(
    "prompt",
    [
        "An image of <skindiff-psoriasis>",
        "An image of <skindiff-eczema>_1",
        "An image of <skindiff-eczema> <skindiff-eczema>_1",
        "An image of <Skindiff-Unknown>",
    ],
)
def test_a_placeholder_that_would_do_nothing_is_refused(prompt: str) -> None:
    pipeline = tiny_pipeline()
    add_tokens(pipeline, make_token_map(["eczema"], 2))
    with pytest.raises(GeneratorError, match=r"learned token|exactly its own"):
        SEAM.tokenise(pipeline, [prompt])


def test_a_prompt_that_would_be_cut_is_refused() -> None:
    with pytest.raises(
        GeneratorError, match=r"is too long: .* words fit into the 32 tokens of CLIP; leave out"
    ):
        SEAM.tokenise(tiny_pipeline(), ["skin " * 40])


def test_a_pipeline_without_the_tokens_is_refused() -> None:
    with pytest.raises(GeneratorError, match="load its adapter"):
        token_ids(tiny_pipeline(), make_token_map(["eczema"]))


def test_prompts_are_encoded_as_diffusers_does_and_alone() -> None:
    pipeline = tiny_pipeline()
    tokens = make_token_map(TINY_CLASSES, 2)
    add_tokens(pipeline, tokens)
    prompts = [prompt_for(tokens.subject(name), tone) for name in TINY_CLASSES for tone in ("I", None)]
    together = SEAM.encode_prompts(pipeline, [*prompts, "", *prompts]).tensors["prompt_embeds"]
    for place, prompt in enumerate([*prompts, "", *prompts]):
        expected, _ = pipeline.encode_prompt(prompt, "cpu", 1, False)
        assert torch.equal(together[place], expected[0])
        (alone,) = SEAM.encode_prompts(pipeline, [prompt]).tensors["prompt_embeds"]
        assert torch.equal(together[place], alone)

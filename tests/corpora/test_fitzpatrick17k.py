import csv
from pathlib import Path

import pytest
from PIL import Image

from skindiff.corpora.cache import resize_to_cache
from skindiff.corpora.fitzpatrick17k import (
    PAPER_CONDITIONS,
    Fitzpatrick17kConfig,
    image_files,
    load_fitzpatrick17k,
)
from skindiff.corpora.schema import corpus_features
from skindiff.corpora.splits import SplitConfig, make_split
from skindiff.errors import ConfigError, CorpusError

ROWS = [
    # md5hash, fitzpatrick_scale, label, file
    ("a0", "1", "acne", "images/a0.jpg"),
    ("a1", "6", "acne", "images/a1.jpeg"),
    ("a2", "-1", "acne", "images/a2.PNG"),
    ("a3", "5", "acne", None),
    ("k0", "3", "keloid", "k0.jpg"),
    ("k1", "4.0", "keloid", "images/k1.jpg"),
    ("e0", "2", "eczema", "images/e0.jpg"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "fitzpatrick17k"
    (root / "images").mkdir(parents=True)
    for number, (_, _, _, name) in enumerate(ROWS):
        if name is not None:
            Image.new("RGB", (20, 16), (200, 10 * number, 90)).save(root / name)
    write_csv(root / "fitzpatrick17k.csv", [row[:3] for row in ROWS])
    return root


def write_csv(path: Path, rows, header=("md5hash", "fitzpatrick_scale", "label")) -> str:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


def load(folder: Path, conditions=("keloid", "acne"), **settings):
    return load_fitzpatrick17k(Fitzpatrick17kConfig(str(folder), conditions=list(conditions), **settings))


def test_the_rows_of_the_chosen_conditions_are_read(folder):
    corpus = load(folder)
    dataset = corpus.dataset
    assert dataset.features == corpus_features(["keloid", "acne"])
    assert list(dataset["image_id"]) == list(dataset["group_id"]) == ["a0", "a1", "a2", "k0", "k1"]
    assert list(dataset["skin_type"]) == ["I", "VI", None, "III", "IV"]
    assert list(dataset["label"]) == [1, 1, 1, 0, 0], "codes follow the order of the setting"
    assert set(dataset["corpus"]) == {"fitzpatrick17k"}
    assert dataset[0]["image"].size == (20, 16)
    assert corpus.missing == ["a3"]
    assert corpus.quarantined == []
    assert corpus.paths()["k0"] == folder / "k0.jpg"


def test_images_are_not_opened(folder):
    for file in (folder / "images").iterdir():
        file.write_bytes(b"not an image")
    assert len(load(folder).dataset) == 5


def test_skin_types_can_be_chosen(folder):
    corpus = load(folder, skin_types=["V", "VI"])
    assert list(corpus.dataset["image_id"]) == ["a1"]
    assert corpus.missing == ["a3"]


def test_lists_are_written(folder, tmp_path):
    audit = write_audit(tmp_path, {"k1": ("constant", "one colour, really")})
    load(folder, audit_csv=audit).write_lists(tmp_path / "lists")
    assert (tmp_path / "lists" / "missing.txt").read_text() == "a3\n"
    assert (tmp_path / "lists" / "quarantined.csv").read_text() == (
        'image_id,reason\nk1,"constant: one colour, really"\n'
    )


def write_audit(folder: Path, found: dict[str, tuple[str, str]], groups: dict[str, str] | None = None) -> str:
    rows = [
        (
            image_id,
            found.get(image_id, ("ok", ""))[0],
            (groups or {}).get(image_id, image_id),
            found.get(image_id, "  ")[1],
        )
        for image_id in ("a0", "a1", "a2", "k0", "k1", "e0")
    ]
    return write_csv(folder / "audit.csv", rows, ("image_id", "status", "group_id", "reason"))


def test_audit_gives_groups_and_quarantines(folder, tmp_path):
    audit = write_audit(
        tmp_path,
        {"a0": ("duplicate", "of k0"), "k0": ("duplicate", "of a0"), "a2": ("corrupt", "truncated")},
        {"a0": "a0", "k0": "a0"},
    )
    corpus = load(folder, audit_csv=audit)
    assert dict(zip(corpus.dataset["image_id"], corpus.dataset["group_id"], strict=True)) == {
        "a0": "a0",
        "a1": "a1",
        "k0": "a0",
        "k1": "k1",
    }
    assert corpus.quarantined == [("a2", "corrupt: truncated")]


def test_audit_of_other_images_is_refused(folder, tmp_path):
    audit = write_csv(
        tmp_path / "audit.csv", [("a0", "ok", "a0", "")], ("image_id", "status", "group_id", "reason")
    )
    with pytest.raises(CorpusError, match=r"does not list 4 of 5 images .*run skindiff audit"):
        load(folder, audit_csv=audit)
    with pytest.raises(CorpusError, match=r"^audit_csv: cannot read .*No such file"):
        load(folder, audit_csv=str(tmp_path / "nowhere.csv"))


def test_a_corrupt_image_among_good_ones_is_quarantined_by_the_cache(folder, tmp_path):
    (folder / "images" / "a1.jpeg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    cached = resize_to_cache(load(folder).dataset, 16, tmp_path / "cache")
    assert [image_id for image_id, _ in cached.quarantined] == ["a1"]
    assert list(cached.dataset["image_id"]) == ["a0", "a2", "k0", "k1"]


def test_the_default_is_the_papers_seven(folder):
    assert Fitzpatrick17kConfig(str(folder)).conditions == list(PAPER_CONDITIONS)
    assert len(PAPER_CONDITIONS) == 7
    with pytest.raises(CorpusError, match="'basal cell carcinoma' is not in"):
        load_fitzpatrick17k(Fitzpatrick17kConfig(str(folder)))


def one_line(error: pytest.ExceptionInfo) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def test_unknown_condition_names_the_closest(folder):
    with pytest.raises(CorpusError) as error:
        load(folder, conditions=["acne", "kelloid"])
    message = one_line(error)
    assert message.startswith("conditions: 'kelloid' is not in")
    assert "the closest are 'keloid'" in message


def test_missing_folder_table_and_column_are_named(folder, tmp_path):
    with pytest.raises(CorpusError) as error:
        load(tmp_path / "nowhere")
    assert "data_dir: " in one_line(error)
    assert "nowhere" in one_line(error)
    with pytest.raises(CorpusError) as error:
        load(folder, csv=str(folder / "other.csv"))
    assert "csv: cannot read" in one_line(error)
    table = write_csv(folder / "bad.csv", [("a0", "acne")], ("md5hash", "label"))
    with pytest.raises(CorpusError) as error:
        load(folder, csv=table)
    assert "has no column 'fitzpatrick_scale' among the 2 that it has; rename" in one_line(error)
    table = write_csv(folder / "near.csv", [("a0", "acne", "3")], ("md5hash", "label", "fitzpatrick_type"))
    with pytest.raises(CorpusError) as error:
        load(folder, csv=table)
    assert "has no column 'fitzpatrick_scale' among the 3 that it has, but 'fitzpatrick_type'; " in one_line(
        error
    )


def test_no_image_at_all_is_an_error(folder):
    for file in image_files(folder).values():
        file.unlink()
    with pytest.raises(CorpusError, match=r"data_dir: .* has none of the 6 images asked for"):
        load(folder)


def test_a_selection_without_images_is_an_error(folder):
    with pytest.raises(CorpusError, match=r"no image of fitzpatrick17k is left .*skin_types"):
        load(folder, conditions=["keloid"], skin_types=["I"])


def test_rows_that_make_no_sense_are_refused(folder):
    table = write_csv(folder / "bad.csv", [("a0", "7", "acne")])
    with pytest.raises(CorpusError, match="csv: a0 has skin type '7'; use"):
        load(folder, conditions=["acne"], csv=table)
    table = write_csv(folder / "bad.csv", [("a0", "1", "acne"), ("a0", "1", "keloid")])
    with pytest.raises(CorpusError, match="lists image a0 twice"):
        load(folder, csv=table)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("conditions", []), ("conditions", ["acne", "acne"]), ("skin_types", ["VII"]), ("skin_types", [])],
)
def test_settings_that_cannot_work_are_refused(setting, value):
    config = Fitzpatrick17kConfig("somewhere", **{setting: value})
    with pytest.raises(ConfigError, match=f"^corpus.{setting}: "):
        config.validate("corpus.")


def test_real_photographs(real_data):
    conditions = ["basal cell carcinoma", "folliculitis", "prurigo nodularis", "squamous cell carcinoma"]
    folder = real_data / "fitzpatrick17k"
    corpus = load(folder, conditions=conditions, skin_types=["I", "II", "V", "VI"])
    assert len(corpus.dataset) == 855, "the counts of the paper's Table 1"
    assert corpus.missing == []
    assert corpus.dataset[0]["image"].mode == "RGB"
    assert len(corpus.paths()) == 855
    everything = load(folder, conditions=conditions)
    assert None in list(everything.dataset["skin_type"])
    split = make_split(everything.dataset, SplitConfig(scenario="ii", preset="published"), 0)
    assert split.sizes() == {"train": 683, "validation": 0, "test_dark": 140}
    with pytest.raises(CorpusError, match="'nematode infection'"):
        load_fitzpatrick17k(Fitzpatrick17kConfig(str(folder)))

import csv
import os
from pathlib import Path

import pytest
from PIL import Image

from skindiff.corpora.cache import pixels, resize_to_cache
from skindiff.corpora.imagefolder import ImageFolderConfig, load_imagefolder
from skindiff.corpora.schema import corpus_features
from skindiff.errors import ConfigError, CorpusError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "mine"
    for number, name in enumerate(["keloid/1.jpg", "keloid/2.PNG", "acne/1.jpg", "acne/3.jpeg"]):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 16), (200, 40 * number, 90)).save(root / name)
    (root / "acne" / ".DS_Store").write_text("hidden")
    (root / "acne" / "._1.jpg").write_text("hidden")
    (root / "acne" / "notes.txt").write_text("not an image")
    (root / ".cache").mkdir()
    return root


def write_metadata(path: Path, *rows: tuple, header=("file_name", "skin_type", "group_id")) -> str:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


def load(folder: Path, **settings):
    return load_imagefolder(ImageFolderConfig(str(folder), **settings))


def column(corpus, name: str) -> dict[str, str | None]:
    return dict(zip(corpus.dataset["image_id"], corpus.dataset[name], strict=True))


def test_folders_are_classes_sorted_by_name(folder):
    corpus = load(folder)
    assert corpus.dataset.features == corpus_features(["acne", "keloid"])
    ids = ["acne/1.jpg", "acne/3.jpeg", "keloid/1.jpg", "keloid/2.PNG"]
    assert list(corpus.dataset["image_id"]) == list(corpus.dataset["group_id"]) == ids
    assert list(corpus.dataset["label"]) == [0, 0, 1, 1]
    assert set(corpus.dataset["skin_type"]) == {None}
    assert set(corpus.dataset["corpus"]) == {"mine"}
    assert corpus.dataset[0]["image"].size == (20, 16)
    assert corpus.paths()["keloid/1.jpg"] == folder / "keloid" / "1.jpg"


def test_metadata_gives_skin_types_and_groups(folder):
    write_metadata(
        folder / "metadata.csv",
        ("acne/1.jpg", "V", "patient-1", "ignored"),
        ("./acne/3.jpeg", "2", "patient-1", ""),
        ("2.PNG", "-1", "", ""),
        ("keloid/9.jpg", "I", "", ""),
        header=("file_name", "skin_type", "group_id", "age"),
    )
    corpus = load(folder)
    assert column(corpus, "skin_type") == {
        "acne/1.jpg": "V",
        "acne/3.jpeg": "II",
        "keloid/1.jpg": None,
        "keloid/2.PNG": None,
    }
    assert column(corpus, "group_id") == {
        "acne/1.jpg": "patient-1",
        "acne/3.jpeg": "patient-1",
        "keloid/1.jpg": "keloid/1.jpg",
        "keloid/2.PNG": "keloid/2.PNG",
    }
    assert corpus.missing == ["keloid/9.jpg"]


def test_what_is_given_and_not_used_is_said(folder):
    write_metadata(
        folder / "metadata.csv",
        ("acne/1.jpg", "V", "p", "61"),
        ("acne/9.jpg", "V", "q", "8"),
        header=("file_name", "skin_type", "patient", "age"),
    )
    (folder / "clinic.csv").write_text("patient\n7\n")
    (folder / "keloid" / "more").mkdir()
    corpus = load(folder)
    said = [
        "clinic.csv is not used",
        "2 files or folders in mine are not used (such as acne/notes.txt)",
        "1 of 2 rows of metadata.csv have no image (such as acne/9.jpg)",
        "3 images have no row in metadata.csv (such as acne/3.jpeg)",
        "columns of metadata.csv are not used: patient, age",
    ]
    assert len(corpus.warnings) == len(said)
    assert all(one.startswith(start) for one, start in zip(corpus.warnings, said, strict=True))
    assert corpus.ungrouped == {"acne/1.jpg", "acne/3.jpeg", "keloid/1.jpg", "keloid/2.PNG"}


def test_a_csv_beside_one_folder_of_images_is_not_passed_over(tmp_path):
    (tmp_path / "mine" / "images").mkdir(parents=True)
    Image.new("RGB", (20, 16)).save(tmp_path / "mine" / "images" / "1.jpg")
    write_metadata(tmp_path / "mine" / "clinic.csv", ("1.jpg", "V", "p"))
    warnings = load(tmp_path / "mine").warnings
    assert warnings[0].startswith(
        "clinic.csv is not used: skin types and patients are read from metadata.csv"
    )
    assert warnings[1] == "there is a single class, 'images': a classifier has nothing to tell apart"


@pytest.mark.parametrize("rows", [[("acne/7.jpg", "V", "p"), ("keloid/8", "V", "p")], []])
def test_a_table_that_matches_nothing_is_an_error(folder, rows):
    write_metadata(folder / "metadata.csv", *rows)
    named = "the first names 'acne/7.jpg'" if rows else "it has no row"
    with pytest.raises(
        CorpusError, match=rf"^metadata: no row of .* matches an image \({named}, .*'acne/1.jpg'"
    ):
        load(folder)


def test_patients_are_unknown_where_no_row_names_them(folder):
    assert len(load(folder).ungrouped) == 4
    write_metadata(folder / "metadata.csv", ("acne/1.jpg", "V", "p"), ("acne/3.jpeg", "V", ""))
    assert load(folder).ungrouped == {"acne/3.jpeg", "keloid/1.jpg", "keloid/2.PNG"}


def test_metadata_may_lie_elsewhere_and_hold_file_names_only(folder, tmp_path):
    table = write_metadata(tmp_path / "table.csv", ("acne/1.jpg",), header=("file_name",))
    assert len(load(folder, metadata=table).dataset) == 4


def test_audit_groups_are_joined_to_patients(folder, tmp_path):
    write_metadata(folder / "metadata.csv", ("acne/1.jpg", "V", "p"), ("acne/3.jpeg", "V", "p"))
    audit = write_metadata(
        tmp_path / "audit.csv",
        ("acne/1.jpg", "ok", "acne/1.jpg", ""),
        ("acne/3.jpeg", "duplicate", "acne/3.jpeg", "of keloid/1.jpg"),
        ("keloid/1.jpg", "duplicate", "acne/3.jpeg", "of acne/3.jpeg"),
        ("keloid/2.PNG", "tiny", "keloid/2.PNG", "20 x 16 pixels"),
        header=("image_id", "status", "group_id", "reason"),
    )
    corpus = load(folder, audit_csv=audit)
    assert column(corpus, "group_id") == dict.fromkeys(
        ["acne/1.jpg", "acne/3.jpeg", "keloid/1.jpg"], "acne/1.jpg"
    )
    assert corpus.quarantined == [("keloid/2.PNG", "tiny: 20 x 16 pixels")]


def test_classes_and_skin_types_can_be_chosen(folder):
    write_metadata(folder / "metadata.csv", ("acne/1.jpg", "V", ""))
    corpus = load(folder, conditions=["keloid", "acne"])
    assert corpus.dataset.features["label"].names == ["keloid", "acne"]
    assert column(corpus, "label")["acne/1.jpg"] == 1
    assert list(load(folder, skin_types=["V"]).dataset["image_id"]) == ["acne/1.jpg"]
    assert load(folder, conditions=["acne"]).dataset.features["label"].names == ["acne"]


def test_images_reach_the_cache(folder, tmp_path):
    (folder / "acne" / "1.jpg").write_bytes(b"damaged")
    cached = resize_to_cache(load(folder).dataset, 16, tmp_path / "cache")
    assert pixels(cached.dataset).shape == (3, 16, 16, 3)
    assert cached.quarantined == [("acne/1.jpg", "not an image file")]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "zoster").mkdir(), r"data_dir: .*zoster has no image \(.jpeg, .jpg, .png, "),
        (
            lambda root: write_metadata(root / "metadata.csv", header=("name",)),
            "no column 'file_name' among the",
        ),
        (
            lambda root: write_metadata(root / "metadata.csv", ("1.jpg", "V", "")),
            "file_name '1.jpg' .* stands for 2 images; write 'acne/1.jpg'",
        ),
        (
            lambda root: write_metadata(
                root / "metadata.csv", ("acne/1.jpg", "V", ""), ("acne/1.jpg", "I", "")
            ),
            "lists 'acne/1.jpg' twice",
        ),
        (
            lambda root: write_metadata(root / "metadata.csv", ("acne/1.jpg", "dark", "")),
            "acne/1.jpg has skin type 'dark'; use I to VI",
        ),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(folder, spoil, message):
    spoil(folder)
    with pytest.raises(CorpusError, match=message) as error:
        load(folder)
    assert "\n" not in str(error.value)


def test_missing_folder_class_and_metadata_are_named(folder, tmp_path):
    with pytest.raises(CorpusError, match=r"data_dir: .*nowhere is not a folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(CorpusError, match=r"conditions: 'eczema' is not in .*'acne', 'keloid'"):
        load(folder, conditions=["eczema"])
    with pytest.raises(CorpusError, match=r"metadata: cannot read .*nowhere.csv"):
        load(folder, metadata=str(tmp_path / "nowhere.csv"))
    with pytest.raises(CorpusError, match="has no folders"):
        load(folder / "acne")


@pytest.mark.parametrize(
    ("setting", "value"),
    [("conditions", []), ("conditions", ["acne", "acne"]), ("skin_types", ["VII"]), ("skin_types", [])],
)
def test_settings_that_cannot_work_are_refused(setting, value):
    config = ImageFolderConfig("somewhere", **{setting: value})
    with pytest.raises(ConfigError, match=f"^corpus.{setting}: "):
        config.validate("corpus.")


def test_a_data_set_of_the_hub_is_sent_to_the_table_corpus(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CorpusError, match=r"--corpus\.table\.data_dir owner/name"):
        load_imagefolder(ImageFolderConfig("owner/name"))


def test_a_table_names_files_with_another_ending_or_none_under_any_headers(folder):
    rows = [
        ("acne/1.png", "FST 5", "p"),
        ("acne/3", "iii", "nan"),
        ("2", "NA", "q"),
        ("wart/1.jpg", "I", "r"),
    ]
    write_metadata(folder / "metadata.csv", *rows, header=("File Name", "skintype", "groupId"))
    corpus = load(folder)
    assert column(corpus, "skin_type") == {
        "acne/1.jpg": "V",
        "acne/3.jpeg": "III",
        "keloid/1.jpg": None,
        "keloid/2.PNG": None,
    }
    assert corpus.ungrouped == {"acne/3.jpeg", "keloid/1.jpg"}
    assert corpus.missing == ["wart/1.jpg"]
    assert any("1 files were found with another ending" in said for said in corpus.warnings)


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.tsv"])
def test_metadata_may_be_another_kind_of_table(folder, name):
    lines = {
        "metadata.jsonl": '{"file_name": "acne/1.jpg", "group_id": 7}\n',
        "metadata.tsv": "file_name\tgroup_id\nacne/1.jpg\t7\n",
    }
    (folder / name).write_text(lines[name])
    assert column(load(folder), "group_id")["acne/1.jpg"] == "7"
    (folder / "metadata.csv").write_text("file_name\nacne/1.jpg\n")
    with pytest.raises(CorpusError, match=r"has metadata\.csv and metadata\.\w+; keep one"):
        load(folder)


def test_columns_that_are_there_twice_and_short_rows_are_not_passed_over(folder):
    table = folder / "metadata.csv"
    table.write_text("file_name,group_id,group_id\nacne/1.jpg,1,2\n")
    with pytest.raises(CorpusError, match=r"has the column 'group_id' 2 times"):
        load(folder)
    table.write_text("file_name,skin_type,group_id\nacne/1.jpg,V\n")
    said = load(folder).warnings
    assert "1 rows of metadata.csv are short (such as line 2)" in "\n".join(said)


def test_class_folders_may_have_tables_of_their_own(folder):
    write_metadata(folder / "acne" / "metadata.csv", ("1.jpg", "V", "p"), ("gone.jpg", "I", "q"))
    write_metadata(folder / "keloid" / "metadata.csv", ("keloid/1.jpg", "II", "r"))

    corpus = load(folder)

    assert column(corpus, "group_id")["acne/1.jpg"] == "p"
    assert column(corpus, "skin_type")["keloid/1.jpg"] == "II"
    assert corpus.missing == ["acne/gone.jpg"]
    assert not any("is not used" in warning for warning in corpus.warnings)


def test_a_table_of_all_classes_stands_for_those_of_the_folders(folder):
    write_metadata(folder / "acne" / "metadata.csv", ("1.jpg", "V", "p"))
    write_metadata(folder / "metadata.csv", ("acne/1.jpg", "I", "q"))

    corpus = load(folder)

    assert column(corpus, "group_id")["acne/1.jpg"] == "q"
    assert corpus.warnings[0].startswith("acne/metadata.csv is not used")


def test_images_further_down_are_sent_to_the_table_corpus(folder):
    (folder / "train" / "acne").mkdir(parents=True)
    Image.new("RGB", (20, 16)).save(folder / "train" / "acne" / "9.jpg")
    with pytest.raises(CorpusError, match=r"images of .*train lie in folders of it; .* --corpus\.name table"):
        load(folder)


def test_a_file_name_that_is_no_text_is_left_out_and_spelled(folder):
    odd = os.fsencode(folder / "acne") + b"/\xff.jpg"
    try:
        Image.new("RGB", (20, 16)).save(folder / "acne" / "new.jpg")
        os.rename(folder / "acne" / "new.jpg", odd)
    except OSError:
        pytest.skip("this file system takes no such names")
    write_metadata(folder / "metadata.csv", ("acne/1.jpg", "V", "p"))
    corpus = load(folder)
    assert corpus.quarantined == [("acne/\\udcff.jpg", "the name of its file is no UTF-8")]
    assert len(corpus.dataset) == 4
    corpus.write_lists(folder.parent / "lists")


def test_a_local_folder_goes_before_the_hub(folder, monkeypatch):
    nested = folder.parent / "owner"
    nested.mkdir()
    folder.rename(nested / "name")
    monkeypatch.chdir(folder.parent)
    corpus = load_imagefolder(ImageFolderConfig("owner/name"))
    assert len(corpus.dataset) == 4
    assert all(path.is_absolute() for path in corpus.paths().values())


def test_further_columns_of_the_table_are_read_by_name(folder: Path) -> None:
    first = next(iter(load(folder).paths()))
    write_metadata(folder / "metadata.csv", (first, " female ", "arm"), header=("file_name", "sex", "site"))
    corpus = load_imagefolder(ImageFolderConfig(str(folder)), ["sex"])
    assert corpus.dataset.features == corpus_features(["acne", "keloid"], ["sex"])
    assert {name for name, sex in column(corpus, "sex").items() if sex == "female"} == {first}
    assert set(column(corpus, "sex").values()) == {"female", None}
    assert "columns of metadata.csv are not used: site" in corpus.warnings
    with pytest.raises(CorpusError, match=r"metadata: .* has no column 'sexe' among the 3 .*, but 'sex'"):
        load_imagefolder(ImageFolderConfig(str(folder)), ["sexe"])

import json
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from datasets import Image as ImageFeature

import skindiff
from skindiff.corpora.attribute import SKIN_TYPE
from skindiff.corpora.held_out import HeldOutConfig
from skindiff.corpora.parts import PartsConfig
from skindiff.corpora.registry import patients_unknown
from skindiff.corpora.table import LoadedCorpus
from skindiff.corpora.table_corpus.columns import ColumnsConfig
from skindiff.corpora.table_corpus.loader import TableConfig, is_class_folders, load_table, read_source
from skindiff.errors import ConfigError, CorpusError, SplitError
from tests.corpora.table_corpus.clinic import clinic, photograph


def load(folder: Path, **settings: Any) -> LoadedCorpus:
    given = [name for name in settings if name.startswith("c_")]
    columns = {name.removeprefix("c_"): settings.pop(name) for name in given}
    return load_table(TableConfig(str(folder), columns=ColumnsConfig(**columns), **settings))


def small(folder: Path, text: str, names: tuple[str, ...], table: str = "table.csv") -> Path:
    for seed, name in enumerate(names):
        photograph(folder / name, seed)
    (folder / table).write_text(text)
    return folder


def column(corpus: LoadedCorpus, name: str) -> dict[str, Any]:
    return dict(zip(corpus.dataset["image_id"], corpus.dataset[name], strict=True))


def test_a_folder_and_its_table_are_read_without_a_setting_and_said(tmp_path: Path) -> None:
    loaded = load(clinic(tmp_path / "klinik", 8))
    assert loaded.dataset.features["label"].names == ["Ekzem", "Psoriasis"]
    assert column(loaded, "group_id")["IMG_0003"] == "1"
    assert set(loaded.dataset["skin_type"]) == {"I", "II"}
    assert set(loaded.dataset["corpus"]) == {"klinik"}
    said = "\n".join(loaded.warnings)
    assert "columns.label is not given: 'Diagnose' of klinik.csv is taken for it" in said
    assert "columns.patient is not given: 'Patient' of klinik.csv is taken for it" in said
    assert "columns of klinik.csv are not used: Geschlecht, Teil, Haus, Datum" in said
    assert not loaded.unstated
    assert not loaded.ungrouped


def test_two_columns_that_fit_a_role_are_both_named(tmp_path: Path) -> None:
    folder = small(tmp_path, "file,dx,diagnosis\na,x,1\nb,y,2\n", ("a.png", "b.png"))
    with pytest.raises(CorpusError, match=r"columns\.label: 'dx' and 'diagnosis' of table\.csv both fit"):
        load(folder)
    assert load(folder, c_label="dx").dataset.features["label"].names == ["x", "y"]


def test_attributes_parts_sites_and_dates_follow_the_schema(tmp_path: Path) -> None:
    folder = clinic(tmp_path, 12)
    loaded = load(folder, c_split="Teil", c_site="Haus", c_date="Datum", c_attributes={"sex": "Geschlecht"})
    assert loaded.dataset.column_names[6:] == ["split", "site", "date", "sex"]
    assert set(loaded.dataset["split"]) == {"train", "validation", "test"}
    loaded = load(folder, c_caption="Haus")
    assert loaded.dataset.column_names[6:] == ["caption"]
    assert set(loaded.dataset["caption"]) == set(load(folder, c_site="Haus").dataset["site"])
    with pytest.raises(ConfigError, match="'label' cannot be the name of an attribute"):
        load(folder, c_attributes={"label": "Geschlecht"})


def test_names_are_found_with_other_endings_folders_capitals_and_unicode_forms(tmp_path: Path) -> None:
    composed = unicodedata.normalize("NFC", "Größe")
    decomposed = unicodedata.normalize("NFD", composed)
    names = ("deep/er/a.JPG", "b.jpeg", f"{decomposed}.png", "left/d.png", "right/d.png", "x.y.png")
    text = f"file,dx\nA,1\nC:\\old\\b.png,2\n{composed}.png,1\nright/d.png,2\nx.y,1\nleft/d,2\n"
    loaded = load(small(tmp_path, text, names), c_patient="none")
    assert len(loaded.dataset) == 6
    assert loaded.missing == []
    assert sum("in another folder" in said or "with another ending" in said for said in loaded.warnings) == 2


def test_a_name_of_two_files_is_an_error(tmp_path: Path) -> None:
    folder = small(tmp_path, "file,dx\nd,1\ne,2\n", ("left/d.png", "right/d.png", "left/e.png"))
    with pytest.raises(CorpusError, match=r"'d' stands for 2 images, .* 'left/d\.png' and 'right/d\.png'"):
        load(folder)
    assert len(load(folder, folders=["left", "absent"]).dataset) == 2


def test_no_row_that_matches_is_an_error_and_some_a_warning(tmp_path: Path) -> None:
    folder = small(tmp_path, "file,dx\nq,1\nr,2\n", ("a.png", "b.png"))
    with pytest.raises(CorpusError, match=r"no row of table\.csv matches an image \(the first names 'q'"):
        load(folder, c_file="file")
    (folder / "table.csv").write_text("file,dx\na,1\nr,2\n")
    (folder / "notes.psd").write_text("x")
    loaded = load(folder, c_file="file")
    assert loaded.missing == ["r"]
    said = "\n".join(loaded.warnings)
    assert "1 of 2 rows of table.csv have no image" in said
    assert "1 images have no row in table.csv (such as b.png)" in said
    assert "1 file is not read, such as .psd (1)" in said


@pytest.mark.parametrize("nothing", ["nan", "NaN", "NA", "", "None"])
def test_patients_that_are_not_known_are_no_patient(nothing: str, tmp_path: Path) -> None:
    rows = "".join(f"{name},{label},{nothing}\n" for name, label in zip("abcd", "xyxy", strict=True))
    folder = small(tmp_path, f"file,dx,patient\n{rows}", tuple(f"{name}.png" for name in "abcd"))
    loaded = load(folder, c_patient="patient")
    assert loaded.ungrouped == {"a", "b", "c", "d"}


def test_a_table_without_patients_has_to_say_so_before_it_is_split(tmp_path: Path) -> None:
    rows = "".join(f"{number}.png,{'xy'[number % 2]}\n" for number in range(12))
    folder = small(tmp_path, f"file,dx\n{rows}", tuple(f"{number}.png" for number in range(12)))
    corpus = skindiff.load_corpus(folder, image_size=16, audit=False)
    with pytest.raises(CorpusError, match=r"columns\.patient: .* say none if there are none"):
        skindiff.make_split(corpus)
    assert len(skindiff.make_split(corpus, "everything").train) == 12
    stated = skindiff.load_corpus(folder, image_size=16, audit=False, columns={"patient": "none"})
    assert skindiff.make_split(stated).groups_crossing == 0
    (said,) = patients_unknown(stated.counts())
    assert said.startswith("Patients unknown: leakage not excluded. 12 of 12")


def test_a_lesion_of_two_patients_is_refused_and_else_stands_for_one(tmp_path: Path) -> None:
    names = tuple(f"{name}.png" for name in "abcd")
    folder = small(tmp_path, "file,dx,patient,lesion\na,x,1,7\nb,y,2,7\nc,x,1,8\nd,y,1,9\n", names)
    with pytest.raises(CorpusError, match=r"columns\.lesion: lesion '7' .* two patients, '1' and '2'"):
        load(folder)
    (folder / "table.csv").write_text("file,dx,patient,lesion\na,x,1,7\nb,y,,7\nc,x,,1\nd,y,,\n")
    loaded = load(folder)
    assert column(loaded, "group_id") == {"a": "1", "b": "1", "c": "lesion 1", "d": "d"}
    assert loaded.ungrouped == {"d"}
    alone = load(folder, c_patient="none")
    assert column(alone, "group_id")["c"] == "1"
    assert any(said.startswith("Patients unknown: leakage not excluded") for said in alone.warnings)
    assert "columns.patient is none, but table.csv has a column 'patient'" in alone.warnings


def test_classes_are_chosen_merged_and_renamed(tmp_path: Path) -> None:
    text = "file,dx\na,mel\nb,melanoma in situ\nc,nv\nd,df\ne,\n"
    folder = small(tmp_path, text, tuple(f"{name}.png" for name in "abcde"))
    merged = load(folder, classes={"naevus": ["nv"], "melanoma": ["mel", "melanoma in situ"]})
    assert merged.dataset.features["label"].names == ["naevus", "melanoma"]
    assert column(merged, "label") == {"a": 1, "b": 1, "c": 0}
    said = "\n".join(merged.warnings)
    assert "1 rows of table.csv are left out: their 1 labels are in no class (such as 'df')" in said
    assert "1 of 5 rows of table.csv have no label and are left out" in said
    assert load(folder, classes=["df", "nv"]).dataset.features["label"].names == ["df", "nv"]
    with pytest.raises(CorpusError, match=r"no row of table\.csv has the label 'Mel'"):
        load(folder, classes=["Mel"])
    with pytest.raises(ConfigError, match="classes: 'nv' is named twice"):
        load(folder, classes={"a": ["nv"], "b": ["nv"]})


def test_labels_that_differ_in_spelling_alone_are_said(tmp_path: Path) -> None:
    folder = small(tmp_path, "file,dx\na,Acne\nb,acne \nc,wart\n", tuple(f"{name}.png" for name in "abc"))
    assert "'Acne' and 'acne' differ in spelling alone" in "\n".join(load(folder).warnings)


def test_one_hot_columns_and_one_label_of_several(tmp_path: Path) -> None:
    names = tuple(f"{name}.png" for name in "abc")
    hot = small(tmp_path / "hot", "image,MEL,NV,UNK\na,1.0,0.0,0\nb,0,1,0\nc,0,0,1\n", names)
    assert load(hot).dataset.features["label"].names == ["MEL", "NV", "UNK"]
    assert load(hot, c_label=["NV", "MEL"], classes=["NV", "MEL"]).dataset["label"][:] == [1, 0]
    both = small(tmp_path / "both", "image,MEL,NV\na,1,1\nb,0,1\nc,0,0\n", names)
    with pytest.raises(CorpusError, match=r"row 1 of table\.csv has several .*columns\.positive 'MEL'"):
        load(both, c_label=["MEL", "NV"])
    rest = load(both, c_label=["MEL", "NV"], c_positive="MEL")
    assert (rest.dataset.features["label"].names, rest.dataset["label"][:]) == (["MEL", "other"], [0, 1, 1])
    listed = small(tmp_path / "listed", "image,dx\na,\"['Eczema', 'Tinea']\"\nb,['Tinea']\nc,\n", names)
    with pytest.raises(CorpusError, match=r"several labels \(2\).*columns\.positive 'Eczema'"):
        load(listed)
    assert load(listed, c_positive="Tinea").dataset["label"][:] == [0, 0]


def test_a_row_may_have_several_images_and_tables_may_be_joined(tmp_path: Path) -> None:
    names = ("a.png", "b.png", "c.png")
    folder = small(tmp_path, "case,one,two\n1,a.png,b.png\n2,c.png,\n", names, "cases.csv")
    (folder / "labels.csv").write_text("case,dx\n1,acne\n2,wart\n3,wart\n")
    settings: dict[str, Any] = {"metadata": "cases.csv", "joined": {"labels.csv": "case"}}
    settings["c_file"] = ["one", "two"]
    loaded = load(folder, **settings, c_patient="case")
    assert column(loaded, "group_id") == {"a.png": "1", "b.png": "1", "c.png": "2"}
    (folder / "labels.csv").write_text("case,dx\n1,acne\n1,wart\n")
    with pytest.raises(CorpusError, match=r"joined: labels\.csv has case '1' twice"):
        load(folder, **settings)
    with pytest.raises(CorpusError, match=r"has cases\.csv and labels\.csv; say which lists the images"):
        load(folder)


def test_a_column_that_is_there_twice_is_refused_where_it_is_meant(tmp_path: Path) -> None:
    folder = small(tmp_path, "file,dx,note,note\na,x,1,2\nb,y,1,2\n", ("a.png", "b.png"))
    assert len(load(folder).dataset) == 2
    with pytest.raises(CorpusError, match=r"columns\.patient: table\.csv has the column 'note' 2 times"):
        load(folder, c_patient="note")
    with pytest.raises(CorpusError, match=r"columns\.label: .* no column 'dxx' among the 4 .*, but 'dx'"):
        load(folder, c_label="dxx")


def test_folders_are_a_table_where_there_is_none(tmp_path: Path) -> None:
    for seed, name in enumerate(("train/acne/a", "train/wart/b", "test/acne/c", "test/wart/d")):
        photograph(tmp_path / f"{name}.png", seed)
    loaded = load(tmp_path, c_patient="none")
    assert loaded.dataset.features["label"].names == ["acne", "wart"]
    assert column(loaded, "split")["test/wart/d.png"] == "test"
    split = PartsConfig("official").split(loaded.dataset, SKIN_TYPE)
    assert split.sizes() == {"train": 2, "validation": 0, "test_all": 2}


def test_splits_by_part_site_and_time(tmp_path: Path) -> None:
    loaded = load(clinic(tmp_path, 60), c_split="Teil", c_site="Haus", c_date="Datum").dataset
    official = PartsConfig("official").split(loaded, SKIN_TYPE)
    assert official.sizes() == {"train": 36, "validation": 12, "test_all": 12}
    by_site = PartsConfig("held_out", held_out=HeldOutConfig(sites=["B"])).split(loaded, SKIN_TYPE)
    assert set(loaded.select(by_site.train)["site"]) == {"A", "C"}
    assert set(loaded.select(by_site.tested)["site"]) == {"B"}
    assert by_site.dropped == {"repeats_in_test": 10}
    by_date = PartsConfig("held_out", held_out=HeldOutConfig(after="2020")).split(loaded, SKIN_TYPE)
    assert min(loaded.select(by_date.tested)["date"]) > "2021"
    assert max(loaded.select([*by_date.train, *by_date.validation])["date"]) < "2021"
    assert by_date.groups_crossing == by_site.groups_crossing == 0
    with pytest.raises(SplitError, match=r"no image is of 'Z'; there are A, B, C"):
        PartsConfig("held_out", held_out=HeldOutConfig(sites=["Z"])).split(loaded, SKIN_TYPE)


def test_data_sets_of_datasets_are_sources_too(tmp_path: Path) -> None:
    for number in range(4):
        photograph(tmp_path / f"{number}.png", number)
    features = Features(
        {"picture": ImageFeature(), "label": ClassLabel(names=["wart", "acne"]), "patient_id": Value("int64")}
    )
    rows = {"picture": [str(tmp_path / f"{number}.png") for number in range(4)], "label": [0, 1, 0, 1]}
    whole = Dataset.from_dict({**rows, "patient_id": [7, 7, 8, 9]}, features=features)
    whole.save_to_disk(str(tmp_path / "one"))
    two = DatasetDict({"train": whole.select([0, 1]), "test": whole.select([2, 3])})
    two.save_to_disk(str(tmp_path / "two"))
    (tmp_path / "shards" / "data").mkdir(parents=True)
    whole.select([0, 1]).to_parquet(str(tmp_path / "shards" / "data" / "train-00000-of-00001.parquet"))
    whole.select([2, 3]).to_parquet(str(tmp_path / "shards" / "data" / "test-00000-of-00001.parquet"))
    for name, split in (("one", None), ("two", "test"), ("shards", "test")):
        loaded = load(tmp_path / name)
        assert loaded.dataset.features["label"].names == ["wart", "acne"]
        assert sorted(loaded.dataset["group_id"]) == ["7", "7", "8", "9"]
        assert loaded.dataset[3]["image"].size == (48, 48)
        if split:
            pairs = set(zip(loaded.dataset["split"], loaded.dataset["group_id"], strict=True))
            assert pairs == {("train", "7"), ("test", "8"), ("test", "9")}


def test_every_kind_of_table_is_found(tmp_path: Path) -> None:
    names = ("a.png", "b.png")
    lines = "\n".join(
        json.dumps({"file_name": name, "label": f"class {name[0]}", "patient": 1}) for name in names
    )
    assert len(load(small(tmp_path / "lines", lines, names, "metadata.jsonl")).dataset) == 2
    tabbed = "file\tdx\tpatient\na\tx\t1\nb\ty\t2\n"
    assert len(load(small(tmp_path / "tabbed", tabbed, names, "HAM.tab")).dataset) == 2


def test_a_call_takes_class_folders_for_imagefolder_and_all_else_for_a_table(tmp_path: Path) -> None:
    folders = tmp_path / "folders"
    for seed, name in enumerate(("acne/a.png", "wart/b.png")):
        photograph(folders / name, seed)
    assert is_class_folders(folders, {"skin_types"})
    assert not is_class_folders(folders, {"columns"})
    (folders / "metadata.csv").write_text("file_name,group_id\nacne/a.png,1\n")
    assert is_class_folders(folders, set())
    (folders / "clinic.csv").write_text("file,dx\na,x\n")
    assert not is_class_folders(folders, set())
    assert is_class_folders(folders, {"metadata"})
    shutil.rmtree(folders / "wart")
    assert not is_class_folders(folders, {"metadata"})
    assert not is_class_folders(tmp_path / "owner" / "name", set())


def test_boxes_and_masks_are_of_the_upright_picture(tmp_path: Path) -> None:
    text = "file,dx,x,y,w,h,outline\na,1,2,3,10,12.0,a_mask\nb,2,,,,,c_mask\n"
    folder = small(tmp_path, text, ("images/a.png", "images/b.png", "masks/a_mask.png"))
    settings = TableConfig(
        str(folder), folders=["images"],
        columns=ColumnsConfig(file="file", box=["x", "y", "w", "h"], mask="outline", patient="none"),
    )  # fmt: skip
    images = {image.image_id: image for image, _ in read_source(settings).images}
    assert (images["a"].box, images["b"].box) == ((2, 3, 10, 12), None)
    assert "1 of 2 masks are not there (such as c_mask)" in load_table(settings).warnings
    with pytest.raises(CorpusError, match=r"columns\.box: row 1 of table\.csv has other cells"):
        load(folder, c_file="file", c_box=["x", "y", "w", "outline"])
    with pytest.raises(ConfigError, match="are not four columns"):
        load(folder, c_box=["x"])

"""Every preset on the header of its source, with rows of ours."""

from pathlib import Path
from typing import Any

import pytest

from skindiff.commands import data
from skindiff.corpora.table_corpus.columns import ColumnsConfig
from skindiff.corpora.table_corpus.loader import TableConfig, load_table
from skindiff.corpora.table_corpus.presets import PRESETS
from skindiff.errors import ConfigError, HubError
from skindiff.hub.licences import KNOWN, corpus_terms
from tests.corpora.table_corpus.clinic import photograph

SCIN = (
    "case_id,source,release,year,age_group,sex_at_birth,fitzpatrick_skin_type,related_category,"
    "condition_duration,image_1_path,image_2_path,image_3_path,image_1_shot_type"
)
HEADERS = {
    "ham10000": ("HAM10000_metadata.csv", "lesion_id,image_id,dx,dx_type,age,sex,localization,dataset"),
    "fitzpatrick17k": (
        "fitzpatrick17k.csv",
        "md5hash,fitzpatrick_scale,fitzpatrick_centaur,label,nine_partition_label,three_partition_label,qc,url,"
        "url_alphanum",
    ),
    "pad_ufes_20": (
        "metadata.csv",
        "patient_id,lesion_id,smoke,drink,background_father,background_mother,age,pesticide,gender,"
        "skin_cancer_history,cancer_history,has_piped_water,has_sewage_system,fitspatrick,region,diameter_1,"
        "diameter_2,diagnostic,itch,grew,hurt,changed,bleed,elevation,img_id,biopsed",
    ),
    "ddi": ("ddi_metadata.csv", "DDI_ID,DDI_file,skin_tone,malignant,disease"),
    "derm7pt": (
        "meta/meta.csv",
        "case_num,diagnosis,seven_point_score,pigment_network,streaks,pigmentation,regression_structures,"
        "dots_and_globules,blue_whitish_veil,vascular_structures,level_of_diagnostic_difficulty,elevation,location,"
        "sex,management,clinic,derm,case_id,notes",
    ),
    "scin": ("scin_cases.csv", SCIN),
    "isic_2018_task3": ("ISIC2018_Task3_Training_GroundTruth.csv", "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC"),
    "isic_2019": (
        "ISIC_2019_Training_GroundTruth.csv",
        "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK",
    ),
    "fitzpatrick17k_c": (
        "SimThresh_T_A2_T_0.99_0.70_FC_T_KeepOne_Out_T_OutThresh_None_0FST_F.csv",
        "filepath,filename,diag,fst,partition,md5hash,fitzpatrick,label,nine_partition_label,"
        "three_partition_label,qc,url,url_alphanum,orig_img_name,new_img_name",
    ),
    "isic_2020": (
        "train.csv",
        "image_name,patient_id,sex,age_approx,anatom_site_general_challenge,diagnosis,benign_malignant,target",
    ),
    "isic_archive": (
        "metadata.csv",
        "isic_id,attribution,copyright_license,acquisition_day,age_approx,anatom_site_general,benign_malignant,"
        "clin_size_long_diam_mm,concomitant_biopsy,dermoscopic_type,diagnosis,diagnosis_confirm_type,family_hx_mm,"
        "fitzpatrick_skin_type,image_type,lesion_id,mel_class,mel_mitotic_index,mel_thick_mm,mel_type,mel_ulcer,"
        "melanocytic,nevus_type,patient_id,personal_hx_mm,sex",
    ),
}
"""The file and the header of each source, in its order where the source shows one."""
ROWS: dict[str, list[dict[str, str]]] = {
    "ham10000": [
        {"lesion_id": "HAM_1", "image_id": "ISIC_1", "dx": "nv", "age": "45.0", "sex": "male"},
        {"lesion_id": "HAM_1", "image_id": "ISIC_2", "dx": "nv", "localization": "back"},
        {"lesion_id": "HAM_2", "image_id": "ISIC_3", "dx": "mel"},
    ],
    "fitzpatrick17k": [
        {"md5hash": "aa", "fitzpatrick_scale": "3", "label": "acne"},
        {"md5hash": "bb", "fitzpatrick_scale": "-1", "label": "psoriasis"},
    ],
    "pad_ufes_20": [
        {
            "patient_id": "PAT_1",
            "lesion_id": "1",
            "fitspatrick": "3.0",
            "diagnostic": "BCC",
            "img_id": "PAT_1_1_1.png",
        },
        {"patient_id": "PAT_1", "lesion_id": "2", "diagnostic": "NEV", "img_id": "PAT_1_2_9.png"},
    ],
    "ddi": [
        {"DDI_ID": "1", "DDI_file": "000001.png", "skin_tone": "56", "malignant": "True"},
        {"DDI_ID": "2", "DDI_file": "000002.png", "skin_tone": "12", "malignant": "False"},
    ],
    "derm7pt": [
        {
            "case_num": "1",
            "diagnosis": diagnosis,
            "derm": f"NEL/Nel{place}.jpg",
            "clinic": f"NEL/Ncl{place}.jpg",
        }
        for place, diagnosis in enumerate(
            name for names in (PRESETS["derm7pt"].classes or {}).values() for name in names
        )
    ],
    "scin": [
        {"case_id": "1", "image_1_path": "dataset/images/1.png", "image_2_path": "dataset/images/2.png"},
        {"case_id": "2", "image_1_path": "dataset/images/3.png"},
    ],
    "isic_2018_task3": [
        {
            "image": "ISIC_1",
            "MEL": "1.0",
            **dict.fromkeys(("NV", "BCC", "AKIEC", "BKL", "DF", "VASC"), "0.0"),
        },
        {
            "image": "ISIC_2",
            "NV": "1.0",
            **dict.fromkeys(("MEL", "BCC", "AKIEC", "BKL", "DF", "VASC"), "0.0"),
        },
    ],
    "isic_2019": [
        {
            "image": "ISIC_1",
            "SCC": "1",
            **dict.fromkeys(("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC"), "0"),
        },
        {
            "image": "ISIC_2",
            "AK": "1",
            **dict.fromkeys(("MEL", "NV", "BCC", "BKL", "DF", "VASC", "SCC"), "0"),
        },
        {
            "image": "ISIC_3",
            "NV": "1",
            **dict.fromkeys(("MEL", "BCC", "AK", "BKL", "DF", "VASC", "SCC"), "0"),
        },
    ],
    "fitzpatrick17k_c": [
        {"partition": "train", "md5hash": "aa", "fitzpatrick": "3", "label": "acne vulgaris"},
        {"partition": "test", "md5hash": "bb", "fitzpatrick": "6", "label": "psoriasis"},
    ],
    "isic_2020": [
        {"image_name": "ISIC_1", "patient_id": "IP_1", "benign_malignant": "benign"},
        {"image_name": "ISIC_2", "patient_id": "IP_1", "benign_malignant": "malignant"},
    ],
    "isic_archive": [
        {"isic_id": "ISIC_1", "patient_id": "IP_1", "diagnosis": "nevus", "lesion_id": "IL_1"},
        {"isic_id": "ISIC_2", "patient_id": "IP_2", "diagnosis": "melanoma", "fitzpatrick_skin_type": "II"},
    ],
}
GROUPS = {
    "ham10000": ["HAM_1", "HAM_1", "HAM_2"],
    "fitzpatrick17k": ["aa", "bb"],
    "pad_ufes_20": ["PAT_1", "PAT_1"],
    "ddi": ["000001.png", "000002.png"],
    "derm7pt": ["1"] * 20,
    "scin": ["1", "1", "2"],
    "isic_2018_task3": ["ISIC_1", "ISIC_2"],
    "isic_2019": ["BCN_1", "BCN_1", "ISIC_3"],
    "fitzpatrick17k_c": ["aa", "bb"],
    "isic_2020": ["IP_1", "IP_1"],
    "isic_archive": ["IP_1", "IP_2"],
}


def laid_out(name: str, folder: Path, delimiter: str = ",") -> Path:
    """Write the table of a preset and an image for each of its rows."""
    file, header = HEADERS[name]
    names = header.split(",")
    lines = [delimiter.join(row.get(column, "") for column in names) for row in ROWS[name]]
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text("\n".join([delimiter.join(names), *lines, ""]))
    columns = PRESETS[name].columns.file
    places = (PRESETS[name].folders or [""])[-1]
    seed = 0
    for row in ROWS[name]:
        for column in columns if isinstance(columns, list) else [str(columns)]:
            if cell := row.get(column):
                seed += 1
                image = cell if Path(cell).suffix else f"{cell}.jpg"
                photograph(folder / places / image.removeprefix("dataset/"), seed, side=16)
    if name == "scin":
        labels = (
            "case_id,dermatologist_skin_condition_on_label_name,dermatologist_fitzpatrick_skin_type_label_1"
        )
        (folder / "scin_labels.csv").write_text(f"{labels}\n1,\"['Eczema', 'Tinea']\",FST3\n2,['Tinea'],\n")
    if name == "isic_2019":
        (folder / "ISIC_2019_Training_Metadata.csv").write_text(
            "image,age_approx,anatom_site_general,lesion_id,sex\nISIC_1,55,anterior torso,BCN_1,female\n"
            "ISIC_2,60,head/neck,BCN_1,male\nISIC_3,,,,\n"
        )
    return folder


@pytest.mark.parametrize("name", list(PRESETS))
def test_a_preset_reads_the_table_of_its_source(name: str, tmp_path: Path) -> None:
    columns = ColumnsConfig(positive="Eczema") if name == "scin" else ColumnsConfig()
    loaded = load_table(TableConfig(str(laid_out(name, tmp_path)), preset=name, columns=columns))
    assert loaded.dataset["group_id"][:] == GROUPS[name]
    assert set(loaded.dataset["corpus"]) == {name}
    assert not loaded.missing
    assert not loaded.unstated
    if PRESETS[name].columns.patient == "none":
        assert loaded.ungrouped or any("Patients unknown" in said for said in loaded.warnings)


def test_attributes_classes_and_types_come_with_a_preset(tmp_path: Path) -> None:
    def load(name: str, **columns: Any) -> Any:
        settings = TableConfig(
            str(laid_out(name, tmp_path / name)), preset=name, columns=ColumnsConfig(**columns)
        )
        return load_table(settings).dataset

    ham = load("ham10000")
    assert (ham["sex"][:], ham["body_site"][:]) == (["male", None, None], [None, "back", None])
    assert load("ddi").features["label"].names == ["benign", "malignant"]
    assert load("ddi")["skin_tone"][:] == ["56", "12"]
    assert load("pad_ufes_20")["skin_type"][:] == ["III", None]
    assert load("scin", positive="Tinea")["label"][:] == [0, 0, 0]
    assert load("scin", positive="Eczema")["skin_type"][:] == ["III", "III", None]
    assert load("isic_2018_task3").features["label"].names == ["MEL", "NV"]
    newer = load("isic_2019")
    assert [newer.features["label"].names[code] for code in newer["label"]] == ["SCC", "AK", "NV"]
    assert (newer["sex"][:], newer["age"][:]) == (["female", "male", None], ["55", "60", None])
    cleaned = load("fitzpatrick17k_c")
    assert (cleaned["split"][:], cleaned["skin_type"][:]) == (["train", "test"], ["III", "VI"])
    assert load("derm7pt").features["label"].names[1:3] == ["nevus", "melanoma"]


def test_ham10000_is_read_from_the_tab_of_dataverse_and_its_two_folders(tmp_path: Path) -> None:
    folder = laid_out("ham10000", tmp_path, "\t")
    (folder / "HAM10000_metadata.csv").rename(folder / "HAM10000_metadata.tab")
    part = folder / "HAM10000_images_part_1"
    part.mkdir()
    (folder / "HAM10000_images_part_2" / "ISIC_1.jpg").rename(part / "ISIC_1.jpg")
    assert len(load_table(TableConfig(str(folder), preset="ham10000")).dataset) == 3


def test_what_is_given_stands_over_the_preset(tmp_path: Path) -> None:
    folder = laid_out("isic_2020", tmp_path)
    columns = ColumnsConfig(attributes={"age": "age_approx"})
    loaded = load_table(TableConfig(str(folder), preset="isic_2020", columns=columns, classes=["malignant"]))
    assert loaded.dataset.column_names[6:] == ["age"]
    assert len(loaded.dataset) == 1


def test_every_preset_is_tested_and_has_a_source_with_a_date_and_known_terms() -> None:
    assert set(PRESETS) == set(HEADERS) == set(ROWS) == set(GROUPS)
    for name, preset in PRESETS.items():
        assert "on 2026-" in preset.source
        assert preset.licence in KNOWN
        assert corpus_terms(f"table/{name}").title == preset.title
        header = HEADERS[name][1].split(",")
        joined = ("dermatologist_skin_condition_on_label_name", "dermatologist_fitzpatrick_skin_type_label_1")
        joined += ("lesion_id", "sex", "age_approx", "anatom_site_general") * (name == "isic_2019")
        assert {column for _, column in preset.columns.named()} <= {*header, *joined}
    with pytest.raises(HubError, match="corpus_licence"):
        corpus_terms("table")


def test_the_list_shows_them_with_terms_and_places(capsys: pytest.CaptureFixture[str]) -> None:
    assert data.main(["list"]) == 0
    said = capsys.readouterr().out
    assert all(f"{name} " in said and preset.where in said for name, preset in PRESETS.items())
    assert data.main(["list", "scin"]) == 0
    assert "SCIN Data Use License" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="'scan' is none of ddi"):
        data.main(["list", "scan"])
    with pytest.raises(ConfigError, match="preset: 'scan' is no preset; did you mean 'scin'"):
        TableConfig("x", preset="scan").validate()

from pathlib import Path

import pytest

from skindiff.cli import main
from skindiff.commands import data
from skindiff.config import parse_config
from skindiff.corpora.registry import CorpusConfig
from skindiff.corpora.table_corpus.loader import load_table
from skindiff.errors import ConfigError, CorpusError
from tests.corpora.table_corpus.clinic import clinic, photograph


def test_check_says_what_it_took_for_what_and_writes_what_a_command_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, output = clinic(tmp_path / "klinik", 8), tmp_path / "corpus.yaml"
    (folder / "notes.doc").write_text("x")
    attributes = ["--columns.attributes", '{"sex": "Geschlecht"}', "--columns.split", "Teil"]
    assert data.main(["check", str(folder), "--output", str(output), *attributes]) == 0
    said = capsys.readouterr()
    lines = [line.split() for line in said.out.splitlines()]
    assert said.out.startswith("klinik.csv: semicolon-separated, UTF-8 with a byte-order mark, 8 rows of 9")
    assert ["Patient", "patient", "found"] in [line[:3] for line in lines]
    assert ["Teil", "split", "given"] in [line[:3] for line in lines]
    assert ["Datum", "-", "-"] in [line[:3] for line in lines]
    assert "8 images, 4 patients or lesions" in said.out
    for counted in (["Ekzem", "4"], ["II", "4"], ["m", "4"], ["train", "6"], ["validation", "2"]):
        assert counted in lines
    assert "warning: 1 file is not read, such as .doc (1)" in said.err
    config = parse_config(CorpusConfig, [], default=output)
    assert config.name == "table"
    loaded = load_table(config.own)
    assert loaded.dataset.column_names[6:] == ["split", "sex"]
    assert not any(one.startswith("columns.") for one in loaded.warnings)


def test_files_that_are_no_images_are_counted_by_their_headers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = clinic(tmp_path / "klinik", 8)
    damaged = next(folder.rglob("*.JPG"))
    damaged.write_bytes(b"no image" * 20)
    data.main(["check", str(folder), "--output", str(tmp_path / "corpus.yaml")])
    said = capsys.readouterr()
    name = damaged.relative_to(folder).as_posix()
    assert f"warning: 1 of 8 files cannot be read, such as {name}: not an image file" in said.err
    assert "only the headers of the image files were read; the audit decodes every image" in said.out


def test_check_lists_both_columns_that_fit_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, name in enumerate("ab"):
        photograph(tmp_path / f"{name}.png", seed)
    (tmp_path / "t.csv").write_text("file,dx,diagnosis\na,x,1\nb,y,2\n")
    output = tmp_path / "corpus.yaml"
    with pytest.raises(CorpusError, match="'dx' and 'diagnosis' of t.csv both fit".replace(".", r"\.")):
        data.main(["check", str(tmp_path), "--output", str(output)])
    assert "label: dx and diagnosis both fit" in capsys.readouterr().out
    assert not output.exists()


def test_patients_that_nobody_spoke_of_are_left_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, name in enumerate("ab"):
        photograph(tmp_path / f"{name}.png", seed)
    (tmp_path / "t.csv").write_text("file,dx\na,x\nb,y\n")
    output = tmp_path / "corpus.yaml"
    data.main(["check", str(tmp_path), "--output", str(output)])
    assert "open: columns.patient: t.csv has no column that is known" in capsys.readouterr().err
    assert "patient:" not in output.read_text()
    words = ["evaluate", "--corpus", str(output), "--experiment.arms", "[real]"]
    assert main([*words, "--output_dir", str(tmp_path / "run")]) == 2
    assert "error: columns.patient: t.csv" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_audit_reads_the_same_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, output = clinic(tmp_path / "klinik", 8), tmp_path / "corpus.yaml"
    data.main(["check", str(folder), "--output", str(output)])
    audit = tmp_path / "audit" / "audit.csv"
    cache = ["--cache_dir", str(tmp_path / "cache")]
    assert main(["audit", str(output), "--output_dir", str(audit.parent), *cache]) == 0
    said = capsys.readouterr().out
    assert "8 images: 8 ok" in said
    assert f"--corpus {output} --corpus.table.audit_csv {audit}" in said
    assert audit.read_text().splitlines()[1].startswith("IMG_0000,")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["chek"], "'chek' is neither check nor list"),
        (["check"], "data_dir is not given"),
        (["check", "x", "--encoding", "klingon"], "encoding: 'klingon' is no encoding"),
        (["check", "x", "--columns.lable", "dx"], r"columns\.lable: there is no such setting"),
    ],
)
def test_what_cannot_be_is_said(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        data.main(words)

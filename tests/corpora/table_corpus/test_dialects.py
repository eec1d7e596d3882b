"""What a table is written in, and what it says, comes out the same whatever program wrote it."""

import csv
import datetime
import io
import itertools
import json
import random
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from skindiff.corpora.table import read_skin_type
from skindiff.corpora.table_corpus.dialects import Undecided, read_table
from skindiff.errors import CorpusError
from skindiff.foreign import Malformed

COLUMNS = ["Foto", "Patient", "Diagnose", "Größe, mm"]
CELLS = ["IMG_1.jpg", "007", "Ekzem; chronisch", "3,5", "naïf", "日本", 'said "so"', "two\nlines", ""]
CELLS += ["NA", "1|2", "a\tb"]


def rows(seed: int) -> list[list[str]]:
    draw = random.Random(seed)
    found = [[draw.choice(CELLS).strip() for _ in COLUMNS] for _ in range(draw.randint(3, 40))]
    return [["x", *row[1:]] for row in found]  # a row of empty cells is no row


def written(content: list[list[str]], delimiter: str, ends: str, quoting: int) -> str:
    stream = io.StringIO(newline="")
    kind: Any = quoting
    csv.writer(stream, delimiter=delimiter, lineterminator=ends, quoting=kind).writerows([COLUMNS, *content])
    return stream.getvalue()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_table_reads_the_same_in_every_dialect(encoding: str, delimiter: str, tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    for seed, ends, quoting in itertools.product(
        range(6), ("\n", "\r\n"), (csv.QUOTE_MINIMAL, csv.QUOTE_ALL)
    ):
        content = rows(seed)
        file.write_bytes(written(content, delimiter, ends, quoting).encode(encoding))
        table = read_table(file)
        assert table.columns == COLUMNS
        assert [list(row.values()) for row in table.rows()] == content
        assert not table.warnings


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-16-le", "mac-roman"])
def test_an_encoding_is_said_and_never_guessed(encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_bytes("Foto;Größe\na;Fuß\n".encode(encoding))
    with pytest.raises(Undecided) as caught:
        read_table(file)
    assert caught.value.setting == "encoding"
    assert list(read_table(file, encoding).rows()) == [{"Foto": "a", "Größe": "Fuß"}]


def test_two_delimiters_that_fit_are_not_decided_between(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text("a;b,c\n1;2,3\n")
    with pytest.raises(Undecided, match="comma and semicolon both fit") as caught:
        read_table(file)
    assert caught.value.setting == "delimiter"
    assert list(read_table(file, delimiter=";").rows()) == [{"a": "1", "b,c": "2,3"}]


def test_decimal_commas_and_the_line_of_excel_do_not_mislead(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text("sep=;\nid;mm\n1;3,5\n2;4,0\n;\n")
    assert [row["mm"] for row in read_table(file).rows()] == ["3,5", "4,0"]


def test_short_rows_are_said_and_long_ones_refused(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text("a,b,c\n1,2,3\n1,2\n1,2,3,\n")
    table = read_table(file)
    assert table.column("c") == ["3", "", "3"]
    assert table.warnings == [
        "1 rows of table.csv are short (such as line 3): the cells that they lack are taken as empty"
    ]
    file.write_text("a,b\n1,2\nx,Ekzem, chronic\n")
    with pytest.raises(Malformed, match="line 3 has 3 cells and the header 2"):
        read_table(file)
    file.write_text('a,b\n1,"open\n2,3\n')
    with pytest.raises(Malformed, match="line 3: unexpected end of data"):
        read_table(file)


def test_a_column_that_is_there_twice_cannot_be_meant(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text("a,b,b,\n1,2,3,4\n")
    table = read_table(file)
    assert table.columns == ["a", "b", "b", "column 4"]
    with pytest.raises(Malformed, match="2 columns 'b'"):
        table.column("b")


def test_json_lines_and_parquet_are_text_too(tmp_path: Path) -> None:
    content = [
        {"file_name": "1.jpg", "age": 40, "sex": None, "bbox": [1, 2]},
        {"file_name": "2.jpg", "new": True},
    ]
    lines = tmp_path / "metadata.jsonl"
    lines.write_text("\n".join(map(json.dumps, content)) + "\n")
    table = read_table(lines)
    assert table.columns == ["file_name", "age", "sex", "bbox", "new"]
    assert next(table.rows()) == {"file_name": "1.jpg", "age": "40", "sex": "", "bbox": "[1, 2]", "new": ""}
    parquet = tmp_path / "metadata.parquet"
    frame = pd.DataFrame({"file": ["a", "b"], "patient": [7.0, None], "group": pd.Categorical(["x", "y"])})
    frame.assign(many=[[1], [2]]).to_parquet(parquet)
    table = read_table(parquet)
    assert next(table.rows()) == {"file": "a", "patient": "7", "group": "x"}
    assert table.column("patient") == ["7", ""]
    assert table.warnings == ["columns of metadata.parquet are no text and not read: many"]


def test_a_workbook_keeps_dates_and_leading_zeros(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["Foto", "Nr", "Datum", "Alter", "Text"])
    sheet.append(["a.jpg", 7, datetime.date(2021, 3, 4), 40.0, "007"])
    sheet["B2"].number_format = "00000"
    book.create_sheet("more")
    book.save(tmp_path / "klinik.xlsx")
    table = read_table(tmp_path / "klinik.xlsx")
    assert next(table.rows()) == {
        "Foto": "a.jpg", "Nr": "00007", "Datum": "2021-03-04", "Alter": "40", "Text": "007",
    }  # fmt: skip
    assert table.warnings == ["sheets of klinik.xlsx after the first are not read: more"]
    (tmp_path / "bad.xlsx").write_bytes(b"PK nothing")
    with pytest.raises(Malformed, match="no readable workbook"):
        read_table(tmp_path / "bad.xlsx")


NUMERALS = ("I", "II", "III", "IV", "V", "VI")


def test_skin_types_are_read_as_people_write_them() -> None:
    words = (
        "",
        "FST ",
        "fst",
        "FST_",
        "Type ",
        "type",
        "Skin type ",
        "Fitzpatrick ",
        "Fitzpatrick skin type: ",
        "phototype-",
    )
    for number, numeral in enumerate(NUMERALS, 1):
        for word in words:
            for value in (
                numeral,
                numeral.lower(),
                str(number),
                f"{number}.0",
                f"{number},0",
                chr(0x215F + number),
            ):
                assert read_skin_type(f"{word}{value}", "s", "i") == numeral, f"{word}{value}"


@pytest.mark.parametrize(
    "cell", ["", "-1", "-1.0", "NaN", "nan", "NA", "N/A", "none", "NONE_SELECTED", "unknown"]
)
def test_what_is_not_recorded_is_none(cell: str) -> None:
    assert read_skin_type(cell, "s", "i") is None


@pytest.mark.parametrize(
    "cell", ["7", "0", "IIII", "VII", "12", "I-II", "3.5", "FST", "type", "brown", "1 2"]
)
def test_anything_else_is_refused(cell: str) -> None:
    with pytest.raises(CorpusError, match="has skin type"):
        read_skin_type(cell, "s", "i")

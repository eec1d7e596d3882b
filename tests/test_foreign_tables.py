"""Archives of arrays and Parquet that stand for more than memory holds, or hold something else."""

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.lib import format as npy

from skindiff.classification.cells import load_cell
from skindiff.errors import RunFolderError, SynthesisError
from skindiff.foreign import Malformed
from skindiff.foreign_tables import open_arrays, read_parquet
from skindiff.synthesis.writer import load_synthetic


class Shell:
    """Writes a file where it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (Path("/tmp/skindiff-was-here").touch, ())


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


def header(shape: tuple[int, ...], kind: str = "|u1") -> bytes:
    stream = io.BytesIO()
    npy.write_array_header_1_0(stream, {"shape": shape, "fortran_order": False, "descr": kind})
    return stream.getvalue()


def read_all(path: Path) -> list[np.ndarray]:
    with open_arrays(path) as arrays:
        return [arrays[name] for name in arrays]


def test_what_was_saved_is_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", one=np.arange(5), two=np.array("text"), three=np.zeros((0, 3)))
    with open_arrays(tmp_path / "a.npz") as arrays:
        assert list(arrays) == ["one", "two", "three"]
        assert arrays["one"].tolist() == [0, 1, 2, 3, 4]
        assert str(arrays["two"]) == "text"
        with pytest.raises(KeyError):
            arrays["four"]


@pytest.mark.timeout(20)
def test_strange_archives_are_refused(tmp_path: Path) -> None:
    bomb = archive(tmp_path / "bomb.npz", {"a": header((10**8,)) + bytes(10**8)})
    assert bomb.stat().st_size < 10**6
    cases = [
        bomb,
        archive(tmp_path / "lies.npz", {"a": header((10**12,))}),
        archive(tmp_path / "less.npz", {"a": header((-5,)) + bytes(10)}),
        archive(tmp_path / "many.npz", {"a": header((2**31, 2**31, 2**31))}),
        archive(tmp_path / "pickle.npz", {"a": header((1,), "|O") + pickle.dumps([Shell()])}),
        archive(tmp_path / "none.npz", {"a": b"hello"}),
        archive(tmp_path / "deep.npz", {"a": b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535}),
        tmp_path / "absent.npz",
        tmp_path,
    ]
    (tmp_path / "torn.npz").write_bytes(bomb.read_bytes()[:-40])
    (tmp_path / "text.npz").write_bytes(b"hello")
    for path in [*cases, tmp_path / "torn.npz", tmp_path / "text.npz"]:
        with pytest.raises(Malformed):
            read_all(path)
        with pytest.raises(RunFolderError):
            load_cell(path)
    assert not Path("/tmp/skindiff-was-here").exists()


@pytest.mark.timeout(20)
def test_strange_parquet_is_refused(tmp_path: Path) -> None:
    rows = pa.table({"a": pa.nulls(2 * 10**7, pa.int8())})
    pq.write_table(rows, tmp_path / "rows.parquet", row_group_size=10**8)
    assert (tmp_path / "rows.parquet").stat().st_size < 10**6
    large = pa.table({"a": ["x" * 10**6] * 100})
    pq.write_table(large, tmp_path / "large.parquet", compression="zstd", use_dictionary=False)
    (tmp_path / "text.parquet").write_bytes(b"PAR1 hello PAR1")
    for name in ("rows", "large", "text", "absent"):
        with pytest.raises(Malformed):
            read_parquet(tmp_path / f"{name}.parquet")
    few = pa.table({"a": [1, 2]})
    pq.write_table(few, tmp_path / "few.parquet")
    assert read_parquet(tmp_path / "few.parquet").equals(few)


def test_a_strangers_synthetic_images_are_refused(tmp_path: Path) -> None:
    shard = tmp_path / "synthetic-00000-of-00001.parquet"
    tables = [
        pa.table({"a": [1]}),
        pa.table({"image": ["x"], "label": [0], "image_id": ["a"], "generator": ["b"]}),
        pa.table({"a": [1]}).replace_schema_metadata({"huggingface": "[" * 50_000}),
        pa.table({"a": [1]}).replace_schema_metadata({"huggingface": '{"info": {"features": {"a": 7}}}'}),
    ]
    for table in tables:
        pq.write_table(table, shard)
        with pytest.raises(SynthesisError, match="no readable synthetic images"):
            load_synthetic(tmp_path)
    shard.rename(tmp_path / "synthetic-00000-of-x.parquet")
    with pytest.raises(SynthesisError):
        load_synthetic(tmp_path)

from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, Value
from datasets import Image as ImageFeature
from PIL import Image

import skindiff.corpora.table_corpus.sources as sources
from skindiff.corpora.cache import pixels
from skindiff.corpora.schema import corpus_features
from skindiff.corpora.table_corpus.columns import ColumnsConfig
from skindiff.corpora.table_corpus.loader import TableConfig, load_table
from skindiff.errors import ConfigError, CorpusError


def test_offline_hub_is_said_clearly(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # tests run with HF_HUB_OFFLINE=1
    with pytest.raises(CorpusError, match=r"'owner/name' is not a folder.*HF_HUB_OFFLINE") as error:
        load_table(TableConfig("owner/name"))
    assert "\n" not in str(error.value)


@pytest.fixture
def hub(monkeypatch) -> Dataset:
    dataset = Dataset.from_dict(
        {
            "photo": [Image.new("RGB", (20, 16), (200, 40 * number, 90)) for number in range(3)],
            "diagnosis": [1, 0, 1],
            "skin_type": ["V", None, "1"],
            "group_id": ["p", "p", None],
            "age": [1, 2, 3],
        },
        features=Features(
            {
                "photo": ImageFeature(),
                "diagnosis": ClassLabel(names=["keloid", "acne"]),
                "skin_type": Value("string"),
                "group_id": Value("string"),
                "age": Value("int64"),
            }
        ),
    )

    def load_dataset(path, *, split, revision):
        assert (path, split, revision) == ("owner/name", "test", "v1")
        return dataset

    monkeypatch.setattr(sources, "load_dataset", load_dataset)
    return dataset


def hub_config(**settings: Any) -> TableConfig:
    columns = ColumnsConfig(**({"file": "photo"} | settings.pop("columns", {})))
    return TableConfig("owner/name", hub_split="test", hub_revision="v1", columns=columns, **settings)


@pytest.mark.usefixtures("hub")
def test_hub_data_set_is_brought_into_the_schema(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    corpus = load_table(hub_config())
    assert corpus.dataset.features == corpus_features(["keloid", "acne"])
    rows = [{name: row[name] for name in row if name != "image"} for row in corpus.dataset]
    assert rows == [
        {"label": 1, "skin_type": "V", "image_id": "000000", "group_id": "p", "corpus": "owner/name"},
        {"label": 0, "skin_type": None, "image_id": "000001", "group_id": "p", "corpus": "owner/name"},
        {"label": 1, "skin_type": "I", "image_id": "000002", "group_id": "000002", "corpus": "owner/name"},
    ]
    assert pixels(corpus.dataset).shape == (3, 16, 20, 3)
    chosen = load_table(hub_config(classes=["acne"], skin_types=["I"]))
    assert list(chosen.dataset["image_id"]) == ["000002"]
    assert chosen.dataset.features["label"].names == ["acne"]
    assert pixels(chosen.dataset)[0, 0, 0].tolist() == [200, 80, 90]


@pytest.mark.usefixtures("hub")
def test_hub_data_set_with_other_columns_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for column in ("image", "age"):
        with pytest.raises(
            CorpusError, match=r"columns\.file: .* has 1 columns of images, 'photo'; name one"
        ):
            load_table(hub_config(columns={"file": column}))
    with pytest.raises(CorpusError, match=r"columns\.label: .* no column 'dx'"):
        load_table(hub_config(columns={"label": "dx"}))
    with pytest.raises(CorpusError, match="no image of owner/name is left"):
        load_table(hub_config(skin_types=["VI"]))
    with pytest.raises(ConfigError, match="audit_csv: "):
        load_table(hub_config(audit_csv="audit.csv"))

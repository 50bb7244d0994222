"""`huggingface:` names of TFDS, on a stand-in for the Hub and for the package `datasets`.

TFDS's own code runs: it looks the name up, makes features of the Hub's, writes ArrayRecord files
and finds them again. The stand-in has the classes and calls that TFDS 4.9.10 uses, and no network.
That the real package still has them, and that a given dataset of the Hub can be fetched, is not
shown here.
"""

import types

import pytest
from tensorflow_datasets.core.dataset_builders import huggingface_dataset_builder as builders
from tensorflow_datasets.core.utils import huggingface_utils

from latent_jax.data import CorpusError, DataConfig, open_corpus
from latent_jax.data.tfds_source import Tfds

TEXTS = ["naïve text", "", "a second line\nof 日本", *(f"document {n}" for n in range(40))]


class Value:
    """As `datasets.Value`."""

    def __init__(self, dtype):
        self.dtype = dtype


class Info:
    """As `datasets.DatasetInfo`, and as what the Hub says of a dataset."""

    version, description, citation, license = "1.2.3", "made up", "", "mit"
    supervised_keys = None
    gated, card_data, tags = False, None, []

    def __init__(self, name):
        self.id = name
        self.features = {"text": Value("string"), "score": Value("int64")}
        size = types.SimpleNamespace(name="train", num_bytes=2000, num_examples=len(TEXTS))
        self.splits = {"train": size}


class Builder:
    """As `datasets.DatasetBuilder`, for rows that are in memory."""

    VERSION = "1.2.3"

    def __init__(self, name, config, log):
        self.info, self._log = Info(name), log
        log.append(("builder", name, config))

    def download_and_prepare(self, num_proc, verification_mode):
        self._log.append(("download", verification_mode))

    def as_dataset(self, split, run_post_process):
        name, _, rows = split.removesuffix("]").partition("[")
        first, last = map(int, rows.split(":"))
        assert name == "train" and not run_post_process
        return [{"text": text, "score": len(text)} for text in TEXTS[first:last]]


def kind(name):
    return type(name, (), {})


@pytest.fixture
def log(monkeypatch):
    """Put the stand-ins where TFDS looks; return the calls that it makes."""
    calls = []
    others = ("Sequence", "ClassLabel", "Translation", "TranslationVariableLanguages")
    datasets = types.SimpleNamespace(
        load_dataset_builder=lambda name, config, **_: Builder(name, config, calls),
        Features=type("Features", (dict,), {}),
        Value=Value,
        DatasetInfo=Info,
        **{name: kind(name) for name in (*others, "Image", "Audio", "Video")},
    )
    hub = types.SimpleNamespace(
        list_datasets=lambda: [Info("somebody/else"), Info("Some-One/WebText")],
        dataset_info=lambda name, token: Info(name),
    )
    for module in (builders, huggingface_utils):
        monkeypatch.setattr(module, "hf_datasets", datasets)
        monkeypatch.setattr(module, "huggingface_hub", hub)
    return calls


NAME = "huggingface:some_one__webtext"


def test_a_dataset_of_the_hub_is_prepared_once_and_read(log, tmp_path):
    source = Tfds(NAME, data_dir=str(tmp_path))
    assert log == [("builder", "Some-One/WebText", None), ("download", "all_checks")]
    assert sorted(d.text.decode() for d in source.documents()) == sorted(TEXTS)
    again = Tfds(NAME, data_dir=str(tmp_path))
    assert len(log) == 2, "prepared files are found without asking the Hub"
    assert [*again.documents()] == [*source.documents()]
    assert again.stamp() == source.stamp()


def test_a_configuration_is_named_after_the_slash(log, tmp_path):
    source = Tfds(f"{NAME}/plain_text", data_dir=str(tmp_path))
    assert log[0] == ("builder", "Some-One/WebText", "plain_text")
    assert (tmp_path / "some_one__webtext" / "plain_text" / "1.2.3").is_dir()
    assert len([*source.documents()]) == len(TEXTS)


def test_it_becomes_a_corpus(log, tmp_path):
    config = DataConfig(
        source="tfds",
        tfds_name=NAME,
        tfds_data_dir=str(tmp_path),
        cache_dir=str(tmp_path / "cache"),
        validation_percent=20,
        test_percent=20,
    )
    assert sum(open_corpus(config).n_bytes.values()) == sum(len(t.encode()) for t in TEXTS)


def test_a_number_is_no_text(log, tmp_path):
    with pytest.raises(CorpusError, match=r"no text feature 'score'; its text features are 'text'"):
        Tfds(NAME, data_dir=str(tmp_path), text_field="score")


def test_a_name_that_the_hub_lacks_is_one_line(log, tmp_path):
    with pytest.raises(CorpusError, match=r"'huggingface:nobody__webtext'.*not listed"):
        Tfds("huggingface:nobody__webtext", data_dir=str(tmp_path))


def test_without_the_package_it_says_what_is_missing(monkeypatch, tmp_path):
    hub = types.SimpleNamespace(list_datasets=lambda: [Info("Some-One/WebText")])

    class Missing:
        def __getattr__(self, name):
            raise ImportError("No module named 'datasets'")

    for module in (builders, huggingface_utils):
        monkeypatch.setattr(module, "huggingface_hub", hub)
        monkeypatch.setattr(module, "hf_datasets", Missing())
    with pytest.raises(CorpusError, match=r"cannot be prepared here.*set data\.tfds_data_dir"):
        Tfds(NAME, data_dir=str(tmp_path))

import dataclasses
import json
import shutil

import pytest
import tensorflow_datasets as tfds

from latent_jax.data import CorpusError, DataConfig, open_corpus
from latent_jax.data.tfds_source import Tfds, _register_builders


def test_a_prepared_dataset_is_read_by_name(corpus, tmp_path):
    folder = str(corpus.folder)
    whole = list(Tfds("corpus", data_dir=folder).documents())
    assert {d.text for d in whole} == {d.text for d in corpus.documents("train")}
    half = list(Tfds("corpus", split="train[50%:]", data_dir=folder).documents())
    assert set(half) < set(whole)  # the keys too
    both = list(Tfds("corpus", split="train+test", data_dir=folder).documents())
    assert len(both) == corpus.n_documents["train"] + corpus.n_documents["test"]
    keys = list(Tfds("corpus", data_dir=folder, text_field="key").documents())
    assert {d.text.decode() for d in keys} == {d.key for d in corpus.documents("train")}


def test_a_dataset_becomes_a_corpus(corpus, tmp_path):
    config = DataConfig(
        source="tfds",
        tfds_name="corpus",
        tfds_data_dir=str(corpus.folder),
        cache_dir=str(tmp_path),
        validation_percent=20,
        test_percent=20,
    )
    again = open_corpus(config)
    assert sum(again.n_bytes.values()) == corpus.n_bytes["train"]
    assert open_corpus(config) == again
    other = open_corpus(dataclasses.replace(config, tfds_split="test+validation"))
    assert other.fingerprint != again.fingerprint


@pytest.mark.parametrize("name", ["c4/en", "gsm8k", "huggingface:gsm8k"])
def test_prepared_files_are_found_under_well_known_names(corpus, tmp_path, name):
    # An old version, which the builders' code no longer offers.
    folder = tmp_path / name.removeprefix("huggingface:") / "0.0.1"
    shutil.copytree(corpus.folder / "corpus" / "1.0.0", folder)
    info = folder / "dataset_info.json"
    dataset, _, config = name.removeprefix("huggingface:").partition("/")
    info.write_text(
        json.dumps(
            {**json.loads(info.read_text()), "name": dataset, "version": "0.0.1"}
            | ({"configName": config} if config else {})
        )
    )
    for file in folder.glob("corpus-*"):
        file.rename(folder / file.name.replace("corpus-", f"{dataset}-"))
    documents = list(Tfds(name, data_dir=str(tmp_path)).documents())
    assert len(documents) == corpus.n_documents["train"]


def test_builders_of_text_datasets_are_known():
    _register_builders()
    for name in ("c4", "gsm8k", "lm1b", "pg19"):
        assert issubclass(tfds.builder_cls(name), tfds.core.DatasetBuilder)


def test_mock_data_gives_str_where_files_give_bytes(corpus):
    source = Tfds("corpus", data_dir=str(corpus.folder))
    source._examples = [{"text": "naïve"}, {"text": "naïve".encode()}]
    first, second = source.documents()
    assert first == second
    assert first.text == "naïve".encode()


def test_what_is_not_there_is_named(corpus, tmp_path):
    folder = str(corpus.folder)
    for words, message in [
        (
            {"text_field": "body"},
            r"no text feature 'body'.*are '(text|key)', '.*set data\.text_field",
        ),
        ({"split": "dev"}, r"no split 'dev', only .*train.*set data\.tfds_split"),
        ({"data_dir": str(tmp_path / "none")}, "is not a folder"),
        ({"data_dir": str(tmp_path)}, "TFDS knows no dataset 'corpus'"),
    ]:
        with pytest.raises(CorpusError, match=message):
            Tfds("corpus", **{"data_dir": folder, **words})
    with pytest.raises(CorpusError, match=r"data\.tfds_name is empty"):
        Tfds("")


class Unpreparable(tfds.core.GeneratorBasedBuilder):
    """A dataset whose server is gone."""

    VERSION = tfds.core.Version("1.0.0")
    url_infos = None

    def _info(self):
        features = tfds.features.FeaturesDict({"text": tfds.features.Text()})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        raise OSError("no such host")

    def _generate_examples(self):
        raise NotImplementedError


def test_a_dataset_that_cannot_be_prepared(tmp_path):
    with pytest.raises(CorpusError, match=r"cannot be prepared here.*no such host"):
        Tfds("unpreparable", data_dir=str(tmp_path))

"""Datasets that would be downloaded where there is no network: bounded, and one line."""

import socket
import time

import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import downloader

from latent_jax.data import CorpusError, DataConfig, open_corpus, tfds_source
from latent_jax.data.tfds_source import Tfds

PROXIES = [f"{scheme}_proxy" for scheme in ("http", "https", "ftp", "all")]


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """Refuse all connections, as a machine without a network does."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    asked = []

    def refuse(address, *_, **__):
        asked.append(address)
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "create_connection", refuse)
    return asked


@pytest.mark.parametrize("name", ["lm1b", "ag_news_subset", "imdb_reviews"])
def test_a_host_that_cannot_be_reached(name, no_network, tmp_path):
    start = time.monotonic()
    with pytest.raises(CorpusError) as error:
        Tfds(name, data_dir=str(tmp_path))
    line = str(error.value)
    assert f"{name!r} is not prepared here, and " in line and "cannot be reached" in line
    assert "set data.tfds_data_dir, or name text of your own" in line and "\n" not in line
    assert time.monotonic() - start < 30 and len(no_network) == 1


@pytest.mark.parametrize("message", ["one\ntwo", "x" * 5000, ""])
def test_a_download_that_fails_behind_a_proxy_is_bounded(message, monkeypatch, tmp_path):
    """A proxy that refuses: the requests themselves fail, a few times and not ten."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    def prepare(self, **_):
        raise OSError(message)

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", prepare)
    with pytest.raises(CorpusError, match=r"cannot be prepared here \(OSError: ") as error:
        Tfds("lm1b", data_dir=str(tmp_path))
    assert "\n" not in str(error.value) and len(str(error.value)) < 700
    assert downloader.MAX_RETRIES == tfds_source._RETRIES


def test_the_retries_of_a_proxy_end(monkeypatch, tmp_path):
    for name in PROXIES:
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:9")
    config = DataConfig(source="tfds", tfds_name="lm1b", tfds_data_dir=str(tmp_path))
    start = time.monotonic()
    with pytest.raises(CorpusError, match="cannot be prepared here"):
        open_corpus(config)
    assert time.monotonic() - start < 60

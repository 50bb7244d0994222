"""What the page gets of a study's tokenizers."""

import base64
import zlib

import numpy as np
import pytest

from latent_jax import tokenizers
from latent_jax.commands.report_page import SENTENCE, browser_code, segment, write_report_page
from latent_jax.methods.artefacts import load_compiled
from latent_jax.reports.page.study import study_page
from tests.commands.report_page.studies import METHODS, write_study
from tests.launching import launch


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("compressors"))


@pytest.fixture(scope="module")
def found(study):
    return segment([study], SENTENCE)


def test_every_tokenizer_cuts_the_sentence_once_and_completely(study, found):
    names = [cut.name for cut in found.cuts]
    expected = {"BPE[v=1024]", "Bytes", "StaticAC[v=256]", "Latent, c=2"}
    assert set(names) == expected | {"EqualInfoAC[b=16,v=65536]"} and len(names) == 5
    for cut in found.cuts:
        assert sum(cut.lengths) == len(SENTENCE.encode()), cut.name
        assert cut.ids is None or len(cut.ids) == len(cut.lengths)
    counts = [len(cut.lengths) for cut in found.cuts]
    assert counts == sorted(counts, reverse=True)
    bpe = tokenizers.load(study / "bpe" / "tokenizer")
    by_name = {cut.name: cut for cut in found.cuts}
    assert by_name["BPE[v=1024]"].ids == bpe.encode(SENTENCE.encode()).tolist()
    assert [code.kind for code in found.codes] == ["tree", "merges"]


def test_more_tokenizers_can_be_named_and_two_of_one_name_are_told_apart(study, tmp_path):
    other = tokenizers.BPE.train([b"other text, of other words " * 30] * 9, 260)
    other.save(tmp_path / "bpe")
    same = tokenizers.StaticAC.train([b"zzz"], 256)
    same.save(tmp_path / "static")
    found = segment([study], "hello", [tmp_path / "bpe", tmp_path / "static"])
    names = {cut.name for cut in found.cuts}
    assert {"BPE[v=260]", "StaticAC[v=256]", "StaticAC[v=256] (2)"} <= names
    # The last latent holds what is left.
    (cut,) = (c for c in found.cuts if c.name == "Latent, c=2")
    assert cut.lengths == [2, 2, 1]
    # The larger vocabulary is the one to type into.
    assert [code.name for code in found.codes][1] == METHODS["bpe"]


def test_a_browser_code_holds_the_whole_tokenizer(study):
    code = load_compiled()
    tree = zlib.decompress(base64.b64decode(browser_code(code).packed))
    assert len(tree) == 3 * code.separator_id
    depths = np.frombuffer(tree, "<u2", code.separator_id)
    assert depths.tolist() == [len(piece) for piece in code.pieces[:-1]]
    bpe = tokenizers.load(study / "bpe" / "tokenizer")
    table = np.frombuffer(zlib.decompress(base64.b64decode(browser_code(bpe).packed)), "<u4")
    assert [bpe.pieces[id_] for id_ in table[:256]] == [bytes([byte]) for byte in range(256)]
    for left, right, merged in table[256:].reshape(3, -1).T:
        assert bpe.pieces[left] + bpe.pieces[right] == bpe.pieces[merged]


def test_the_command_writes_the_page_beside_what_it_wrote_before(study, tmp_path):
    done = launch("report.py", study, "--out", tmp_path, "--sentence", "A sentence <of mine>.")
    assert done.returncode == 0, done.stderr
    assert "bits/byte" in done.stdout and (tmp_path / "comparison.png").exists()
    page = (tmp_path / "index.html").read_text()
    assert r'"sentence": "A sentence \u003cof mine\u003e."' in page
    assert "A sentence &lt;of mine&gt;.</textarea>" in page
    assert f"report.py {study} --out" in page


def test_what_a_page_cannot_be_made_of_is_named(study, found, tmp_path):
    with pytest.raises(ValueError, match="name a folder with runs"):
        write_report_page([], tmp_path)
    with pytest.raises(ValueError, match="--sentence is empty"):
        write_report_page([study], tmp_path, sentence="")
    with pytest.raises(ValueError, match=r"tokenizer\.json cannot be read"):
        write_report_page([study], tmp_path, extra=[tmp_path / "none"])
    with pytest.raises(ValueError, match=r"none\.json cannot be read"):
        study_page([study], segmentation=found, analyses=[tmp_path / "none.json"])
    assert not (tmp_path / "index.html").exists()

"""GSM8K from files and from TFDS, and files that are held out whole."""

import dataclasses
import gzip
import json
import lzma

import pytest
import tensorflow_datasets as tfds
import zstandard

from latent_jax.data import CorpusError, DataConfig, make_source, open_corpus
from latent_jax.data.gsm8k import ProblemFiles, TfdsProblems
from latent_jax.data.problems import MOST_BYTES, parse_problem, problem_document


def problem(n):
    """Return a question and its worked answer."""
    return f"What is {n} more than 2?", f"It is 2+{n} = <<2+{n}={2 + n}>>{2 + n}.\n#### {2 + n}"


def lines(numbers):
    """Return problems as .jsonl."""
    keys = ("question", "answer")
    return "".join(
        json.dumps(dict(zip(keys, problem(n), strict=True))) + "\n" for n in numbers
    ).encode()


def written(folder, **numbers):
    for name, values in numbers.items():
        (folder / f"{name}.jsonl").write_bytes(lines(values))


def config(folder, **words):
    return DataConfig(
        **{"source": "gsm8k", "cache_dir": str(folder / "cache"), "test_percent": 0.0, **words}
    )


def test_packed_files_hold_the_same_problems(tmp_path):
    text = lines(range(5))
    packed = {
        "": text,
        ".gz": gzip.compress(text),
        ".xz": lzma.compress(text),
        ".zst": zstandard.compress(text),
    }
    expected = [problem_document(*problem(n)) for n in range(5)]
    for ending, content in packed.items():
        path = tmp_path / f"a.jsonl{ending}"
        path.write_bytes(content)
        assert list(ProblemFiles((str(path),)).documents()) == expected
    stamps = {json.dumps(ProblemFiles((str(p),)).stamp()) for p in tmp_path.iterdir()}
    assert len(stamps) == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"question": "a"}', r"a\.jsonl, line 1 has no text 'answer' among 'question'"),
        ('{"question": 5, "answer": "#### 5"}', r"line 1 has no text 'question'"),
        ('\n{"question": "a", "answer": "<<5"}', r"line 2 holds no problem .*'<<5' is nested or"),
        ("[]", r"line 1 holds a list"),
        (
            '{"question": "a", "answer": "#### forty"}',
            r"line 1 states the answer 'forty', which is no number such as 72, .*: correct it or",
        ),
        ('{"question": "a", "answer": "#### \u0662"}', r"the answer '٢', which is no number"),
        ('{"question": "a", "answer": "#### 1/2"}', r"the answer '1/2', which is no number"),
        (
            json.dumps({"question": "a", "answer": f"#### {'9' * 2000}"}),
            r"the answer '9{57}\.\.\.', which is no number",
        ),
        ("text", r"line 1 is not JSON"),
        (
            json.dumps({"question": "a" * MOST_BYTES, "answer": "#### 5"}),
            r"holds a problem of 65,\d+ bytes, and 65,536 are the most",
        ),
    ],
)
def test_a_line_that_is_no_problem_is_named(tmp_path, content, message):
    (tmp_path / "a.jsonl").write_text(content)
    with pytest.raises(CorpusError, match=message):
        list(ProblemFiles((f"{tmp_path}/a.jsonl",)).documents())


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(CorpusError, match=r"a\.txt is no \.jsonl file"):
        make_source(config(tmp_path, files=(f"{tmp_path}/a.txt",)))


with tfds.core.registered.skip_registration():

    class Fake(tfds.core.GeneratorBasedBuilder):
        """A dataset of TFDS with the features of its gsm8k."""

        name = "gsm8k"
        VERSION = tfds.core.Version("1.0.0")
        url_infos = None
        features = ("question", "answer", "annotation", "short_answer")

        def _info(self):
            features = {key: tfds.features.Text() for key in self.features}
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(40), "test": self._generate_examples(4)}

        def _generate_examples(self, n):
            for number in range(n):
                texts = dict(zip(("question", "answer"), problem(number), strict=True))
                yield number, {key: texts.get(key, "") for key in self.features}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    Fake(data_dir=str(folder), file_format="array_record").download_and_prepare()
    return str(folder)


def test_without_files_tfds_is_read(prepared, tmp_path):
    expected = {problem_document(*problem(n)) for n in range(40)}
    for name in ("", "gsm8k"):
        source = make_source(config(tmp_path, tfds_name=name, tfds_data_dir=prepared))
        assert set(source.documents()) == expected
    assert len(list(TfdsProblems(split="test", data_dir=prepared).documents())) == 4
    corpus = open_corpus(config(tmp_path, tfds_data_dir=prepared, validation_percent=20.0))
    assert sum(corpus.n_documents.values()) == 40 and corpus.n_documents["validation"] > 2
    for document in corpus.documents("validation"):
        assert parse_problem(document.text).question == document.key


def test_a_dataset_without_answers_is_refused(tmp_path):
    with tfds.core.registered.skip_registration():
        other = type("Other", (Fake,), {"name": "asked", "features": ("question", "hint")})
    other(data_dir=str(tmp_path), file_format="array_record").download_and_prepare()
    with pytest.raises(CorpusError, match=r"no text feature 'answer'.*set data\.tfds_name"):
        TfdsProblems("asked", data_dir=str(tmp_path))


def test_held_out_files_are_the_whole_validation_split(tmp_path):
    written(tmp_path, train=range(60), test=range(60, 70))
    files = (f"{tmp_path}/train.jsonl",)
    by_hash = open_corpus(config(tmp_path, files=files, validation_percent=20.0))
    assert by_hash.n_documents["train"] < 60
    asked = config(tmp_path, files=files, held_out=f"{tmp_path}/test.jsonl")
    corpus = open_corpus(asked)
    assert corpus.n_documents == {"train": 60, "validation": 10}
    assert {d.key for d in corpus.documents("validation")} == {problem(n)[0] for n in range(60, 70)}
    assert open_corpus(asked) == corpus
    prints = {
        each.fingerprint
        for each in (
            corpus,
            by_hash,
            open_corpus(config(tmp_path, files=asked.held_out, held_out=files)),
            open_corpus(dataclasses.replace(asked, max_bytes=1000)),
        )
    }
    assert len(prints) == 4
    few = open_corpus(dataclasses.replace(asked, max_bytes=1000))
    assert few.n_documents["validation"] == 10, "what is held out is read whole"
    assert few.n_documents["train"] < 20

    (tmp_path / "test.jsonl").write_bytes(lines(range(70, 75)))
    assert open_corpus(asked).n_documents["validation"] == 5, "the stamp of the files counts"


def test_a_question_that_is_also_trained_on_is_refused(tmp_path):
    written(tmp_path, train=range(60))
    leak = json.dumps({"question": problem(7)[0], "answer": "Nine.\n#### 9"})
    (tmp_path / "test.jsonl").write_text(f"{lines([99]).decode()}{leak}\n")
    asked = config(tmp_path, files=(f"{tmp_path}/train.jsonl",), held_out=f"{tmp_path}/test.jsonl")
    with pytest.raises(
        CorpusError, match=r"'What is 7 more than 2\?' of data\.held_out is also amo"
    ):
        open_corpus(asked)
    assert not [*(tmp_path / "cache").glob(".building-*")]


def test_text_can_be_held_out_too(tmp_path):
    texts = {"train": ["one", "two", "three"], "test": ["four"], "twin": ["two"]}
    for name, some in texts.items():
        records = [json.dumps({"id": n, "text": text}) for n, text in enumerate(some)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(records))
    asked = config(
        tmp_path,
        source="files",
        files=(f"{tmp_path}/train.jsonl",),
        held_out=f"{tmp_path}/test.jsonl",
    )
    corpus = open_corpus(asked)
    assert {d.text for d in corpus.documents("train")} == {b"one", b"two", b"three"}
    assert [d.text for d in corpus.documents("validation")] == [b"four"]
    with pytest.raises(CorpusError, match=r"'0' of data\.held_out is also among those .* as '1'"):
        open_corpus(dataclasses.replace(asked, held_out=f"{tmp_path}/twin.jsonl"))
    (tmp_path / "empty.jsonl").write_text('{"text": ""}\n')
    for words, message in [
        ({"held_out": f"{tmp_path}/empty.jsonl"}, r"validation split is empty: data\.held_out has"),
        ({"files": (f"{tmp_path}/empty.jsonl",)}, "train split is empty: the text to train on has"),
        ({"held_out": f"{tmp_path}/none.jsonl"}, r"none\.jsonl does not exist"),
    ]:
        with pytest.raises(CorpusError, match=message):
            open_corpus(dataclasses.replace(asked, **words))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"source": "chains"}, r"not with data\.source='chains'"),
        ({"source": "files", "mixture": ("a=1:b.txt",)}, r"not with data\.mixture"),
        (
            {"validation_percent": 10.0},
            r"data\.validation_percent=10\.0 has no effect: leave it at 5",
        ),
        ({"test_percent": 10.0}, r"data\.test_percent=10\.0 has no effect: leave it at 5"),
    ],
)
def test_what_contradicts_held_out_files_is_refused(tmp_path, words, message):
    with pytest.raises(CorpusError, match=message):
        config(tmp_path, held_out=("a.jsonl",), **words)
    for percent in (0.0, 5.0):
        config(tmp_path, held_out=("a.jsonl",), validation_percent=percent, test_percent=percent)

"""The settings of Fifty 2025, and how its text is unpacked."""

import io
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from configs import common, fifty
from latent_jax.contracts import Vocabulary
from latent_jax.data import DataConfig, open_corpus
from latent_jax.methods.settings import check_settings
from latent_jax.methods.solve import solve_shape

PAGE = Path(fifty.__file__).parent / "results" / "fifty.md"


def runs(arguments=""):
    return fifty.get_config(arguments).runs


@pytest.mark.parametrize("size", common.SIZES)
def test_all_sizes_have_what_the_blog_states(size):
    for name, run in runs(f"size={size}").items():
        check_settings(run)
        assert run.model.dropout == run.autoencoder.dropout == 0.05, name
        assert run.optimizer.schedule == "constant"
        assert (run.optimizer.learning_rate == 5e-5) == (size == "base")
        n_ids = {"latent": 512, "bpe": 128}[name]
        solved = solve_shape(run, Vocabulary(16384, 16383, 4.1)) if name == "bpe" else run
        assert solved.row_length == n_ids, "512 characters for both models"
    assert runs(f"size={size}").bpe.batch_size == runs(f"size={size}").latent.batch_size


def test_base_is_trained_as_long_as_the_blog_and_as_large():
    base = runs("size=base,codes=65536,c=2,v=50257")
    assert base.latent.budget.steps == 75 * 3000 and base.bpe.budget.steps == 100 * 3000
    assert base.latent.training.eval_every == 3000
    assert (base.latent.model.d_model, base.latent.model.n_layers) == (768, 12)
    assert base.latent.method == "Latent[conv1d,c=2,k=65536]"
    assert base.bpe.method == "BPE[v=50257]"
    short = runs("size=base,megabytes=2")
    assert short.latent.budget.bytes == 2e6 and short.latent.budget.steps == 0
    assert runs("c=4").latent.method == "Latent[conv1d,c=4,k=1024]"


def test_the_text_is_named_once():
    files = runs("files=text/*.jsonl").bpe.data
    assert (files.source, files.files) == ("files", ("text/*.jsonl",))
    named = runs("tfds=huggingface:skylion007__openwebtext").latent.data
    assert (named.source, named.tfds_name) == ("tfds", "huggingface:skylion007__openwebtext")
    assert runs().latent.data.source == "python_docs"
    with pytest.raises(ValueError, match="two texts: name one"):
        fifty.get_config("files=a.txt,tfds=lm1b")


def _tar(files, mode):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def test_the_page_unpacks_openwebtext(tmp_path):
    """The page's program, on archives of the form that OpenWebText's loading script reads."""
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    subsets = tmp_path / "openwebtext" / "subsets"
    subsets.mkdir(parents=True)
    texts = {f"{n:07d}-{n}.txt": f"naïve text {n}\n\nits end" for n in range(60)}
    names = sorted(texts)
    for number, own in enumerate((names[:30], names[30:])):
        parts = {
            f"openwebtext/urlsf_subset{number:02d}-{part}_data.xz": _tar(
                {name: texts[name].encode() for name in own[part::2]}, "w:xz"
            )
            for part in range(2)
        }
        path = subsets / f"urlsf_subset{number:02d}.tar"
        path.write_bytes(_tar(parts, "w"))
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=os.environ,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    files = tmp_path / "openwebtext" / "*.jsonl"
    lines = [line for path in files.parent.glob(files.name) for line in path.open()]
    assert sorted(json.loads(line)["text"] for line in lines) == sorted(texts.values())
    config = DataConfig(
        source="files",
        files=(str(files),),
        cache_dir=str(tmp_path / "cache"),
        validation_percent=20,
        test_percent=20,
    )
    assert sum(open_corpus(config).n_documents.values()) == 60

"""A Llama of this project through the loop, to Hugging Face's form and back."""

import json
import pydoc_data.topics

import chex
import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import common, language_model, latent_lm
from latent_jax.commands import export
from latent_jax.commands.generate import Request, generate
from latent_jax.contracts import Vocabulary
from latent_jax.experiments.evaluate import Run, evaluate, load_run, read_config
from latent_jax.experiments.run import run
from latent_jax.generation import Sampling
from latent_jax.methods.tasks import make_task
from latent_jax.models import safetensors
from latent_jax.models.gpt import GPT
from latent_jax.tokenizers import Bytes

TEXT = pydoc_data.topics.topics["if"].encode()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Return a run of two steps, what was exported of it, and the run that was made of that."""
    folder = tmp_path_factory.mktemp("export")
    for number, topic in enumerate([*pydoc_data.topics.topics.values()][:60]):
        (folder / f"{number}.txt").write_text(topic)
    config = language_model.get_config("method=BPE[v=300],size=nano")
    config.model.update(positions="rotary", n_kv_heads=2, norm="rms", gated=True, use_bias=False)
    config.model.update(d_model=32, n_heads=4, n_layers=2, activation="silu", rope_theta=500.0)
    config.update(row_length=32, batch_size=8, evaluation_bytes=1000)
    config.budget.update(bytes=0.0, steps=2.0)
    config.optimizer.warmup_steps = 1
    config.data.update(source="files", files=(f"{folder}/*.txt",), cache_dir=f"{folder}/cache")
    run(config, folder / "run", pictures=False)
    export.export_run(folder / "run", folder / "out")
    export.import_folder(folder / "out", folder / "again", common.default())
    return folder / "run", folder / "out", folder / "again"


def test_a_run_comes_back_as_it_was(folders, tmp_path):
    first, out, second = folders
    ours, back = load_run(first), load_run(second)
    chex.assert_trees_all_equal(*(jax.device_get(r.variables["params"]) for r in (ours, back)))
    assert ours.task.model_config == back.task.model_config
    assert ours.tokenizer.fingerprint() == back.tokenizer.fingerprint()
    text = tmp_path / "held_out.txt"
    text.write_bytes(TEXT[:2000])
    scores = [
        evaluate(r, files=(str(text),), batch_size=8)["bits_per_byte"] for r in (first, second)
    ]
    assert scores[0] == scores[1]
    request = Request((TEXT[:20],), n_bytes=20, sampling=Sampling(repetition_penalty=1.3))
    written = [generate(r, request)[0][0][0].text for r in (ours, back)]
    assert written[0] == written[1]
    exported = {path.name for path in out.iterdir()}
    assert exported >= {"config.json", "model.safetensors", "vocab.json", "merges.txt"}
    export.export_run(second, tmp_path / "once_more")
    for name in ("config.json", "model.safetensors", "vocab.json"):
        assert (tmp_path / "once_more" / name).read_bytes() == (out / name).read_bytes()


def test_an_imported_folder_is_begun_from_and_not_gone_on_with(folders, tmp_path):
    *_, again = folders
    config = ConfigDict(read_config(again).to_dict())
    corpus = read_config(folders[0]).data
    config.data.update(corpus)
    config.budget.update(bytes=0.0, steps=2.0)
    config.optimizer.warmup_steps = 1
    with pytest.raises(ValueError, match="belongs to a run of another configuration"):
        run(config, again, pictures=False)
    config.training.init_from = str(again)
    assert run(config, tmp_path / "next", pictures=False)["step"] == 2


def test_transformers_reads_the_folder(folders):
    transformers = pytest.importorskip("transformers", reason="needs the extra 'benchmark'")
    import torch

    first, out, _ = folders
    ours = load_run(first)
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    ids = tokenizer(TEXT[:60].decode(), return_tensors="pt").input_ids
    np.testing.assert_array_equal(ids[0], ours.tokenizer.encode(TEXT[:60]))
    assert tokenizer.decode(ids[0]).encode() == TEXT[:60]
    model = transformers.AutoModelForCausalLM.from_pretrained(out).eval()
    assert type(model).__name__ == "LlamaForCausalLM"
    with torch.inference_mode():
        theirs = model(ids).logits.numpy()
    found = GPT(ours.task.model_config).apply(ours.variables, ids.numpy().astype(np.int32))
    np.testing.assert_allclose(found, theirs, atol=2e-4)


def test_what_cannot_be_exported_is_refused(monkeypatch, tmp_path):
    config = latent_lm.get_config("size=nano")
    task = make_task(config, Vocabulary.of(Bytes(), 1.0))
    latent = Run(config, Bytes(), task, {}, {}, None)
    monkeypatch.setattr(export, "load_run", lambda *_: latent)
    with pytest.raises(ValueError, match=r"holds Latent\[.*transformers has no such model"):
        export.export_run(tmp_path / "run", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_makes_no_run_is_refused(folders, tmp_path):
    _, out, again = folders
    with pytest.raises(ValueError, match="again exists: name a new --workdir"):
        export.import_folder(out, again, common.default())
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(ValueError, match=r"config\.json cannot be read: No such file"):
        export.import_folder(other, tmp_path / "run", common.default())
    for name in ("config.json", "model.safetensors"):
        (other / name).write_bytes((out / name).read_bytes())
    with pytest.raises(ValueError, match="other has no tokenizer that can be read"):
        export.import_folder(other, tmp_path / "run", common.default())
    Bytes().save(other / "tokenizer")
    with pytest.raises(ValueError, match="model has 300 ids and the tokenizer Bytes 257"):
        export.import_folder(other, tmp_path / "run", common.default())
    # Weights in two files, as large models have them.
    tensors = safetensors.read(out / "model.safetensors")
    names = sorted(tensors)
    parts = {"a.safetensors": names[:5], "b.safetensors": names[5:]}
    for part, inside in parts.items():
        (other / part).write_bytes(safetensors.to_bytes({n: tensors[n] for n in inside}))
    (other / "model.safetensors").unlink()
    index = {"weight_map": {n: part for part, inside in parts.items() for n in inside}}
    (other / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="the tokenizer Bytes 257"):
        export.import_folder(other, tmp_path / "run", common.default())
    assert not (tmp_path / "run").exists()

"""Published models in both forms: the same parameters, and one line for what is none."""

import dataclasses
import json
import os

import chex
import numpy as np
import pytest

from latent_jax.models import safetensors
from latent_jax.models.gguf_model import _unpermuted
from latent_jax.models.gpt import GPT
from latent_jax.models.pretrained import is_pretrained, open_pretrained, published_tokenizer
from latent_jax.tokenizers import BPE, Bytes, PretrainedBPE
from tests.compiled import apply
from tests.models.published_models import (
    LLAMA,
    NETWORKS,
    permute,
    random_params,
    write_folder,
    write_gguf,
)
from tests.tokenizers.published import published

SMOLLM2 = os.environ.get("LATENT_JAX_SMOLLM2", "")
"""Path of SmolLM2-135M-Instruct.Q4_1.gguf, which launch/fetch_smollm2.sh fetches."""


@pytest.fixture(scope="module")
def vocabulary():
    """Return a vocabulary of bytes alone and marks."""
    return published(BPE.train([b"ab ab ab"], 258), "qwen2")


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS.keys())
def test_a_gguf_gives_back_config_and_parameters(network, tmp_path):
    params = random_params(network)
    found = open_pretrained(write_gguf(tmp_path / "a.gguf", network, params))
    assert found.config == network
    chex.assert_trees_all_equal(found.params(), params)
    shapes = {name: leaf.shape for name, leaf in found.shapes.items()}
    assert shapes["token_embedding/embedding"] == (31, 24)
    assert is_pretrained(tmp_path / "a.gguf")


def test_queries_and_keys_of_a_llama_alone_are_permuted(tmp_path):
    x = np.arange(24.0).reshape(12, 2)
    np.testing.assert_array_equal(_unpermuted("q", permute(x, 2), 2), x)
    # Row 2 i of a head is row i of its first half, row 2 i + 1 that of its second.
    assert permute(x, 2)[:, 0].tolist() == [0, 6, 2, 8, 4, 10, 12, 18, 14, 20, 16, 22]
    with pytest.raises(ValueError, match="q has 12 outputs for 4 heads of an even width"):
        _unpermuted("q", x, 4)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS.keys())
@pytest.mark.parametrize("n_parts", [1, 3])
def test_a_folder_gives_back_config_and_parameters(network, n_parts, tmp_path):
    params = random_params(network)
    found = open_pretrained(write_folder(tmp_path / "hf", network, params, n_parts=n_parts))
    assert found.config == network
    chex.assert_trees_all_equal(found.params(), params)
    assert is_pretrained(tmp_path / "hf")


def test_the_tokenizer_is_that_of_the_file(vocabulary, tmp_path):
    network = dataclasses.replace(LLAMA, vocab_size=len(vocabulary.tokens))
    params = random_params(network)
    gguf = write_gguf(tmp_path / "a.gguf", network, params, vocabulary)
    folder = write_folder(tmp_path / "hf", network, params, vocabulary)
    ours = PretrainedBPE(vocabulary)
    ours.save(tmp_path / "saved")
    places = (gguf, folder / "tokenizer.json", tmp_path / "saved" / "vocabulary.json")
    found = [open_pretrained(gguf).tokenizer(), open_pretrained(folder).tokenizer()]
    found += [published_tokenizer(place, network.vocab_size) for place in places]
    assert [made.fingerprint() for made in found] == [ours.fingerprint()] * 5
    # GPT-2's two files lie beside tokenizer.json in such folders, with another rule of words.
    for name in BPE.file_names:
        (folder / name).write_text("{}")
    assert open_pretrained(folder).tokenizer().fingerprint() == ours.fingerprint()
    Bytes().save(folder / "tokenizer")
    with pytest.raises(ValueError, match=r"the model has .* ids and the tokenizer Bytes 257"):
        open_pretrained(folder).tokenizer()


def test_a_tokenizer_of_another_size_or_none_is_named(vocabulary, tmp_path):
    params = random_params(LLAMA)
    found = open_pretrained(write_gguf(tmp_path / "a.gguf", LLAMA, params, vocabulary))
    with pytest.raises(ValueError, match=r"a\.gguf: the model has 31 ids and the tokenizer BPE"):
        found.tokenizer()
    found = open_pretrained(write_gguf(tmp_path / "b.gguf", LLAMA, params))
    with pytest.raises(ValueError, match=r"b\.gguf: tokenizer\.ggml\.model is None"):
        found.tokenizer()
    found = open_pretrained(write_folder(tmp_path / "hf", LLAMA, params))
    with pytest.raises(ValueError, match=r"hf has no tokenizer that can be read: .*vocab\.json"):
        found.tokenizer()


ZEROS = np.zeros((31, 24), np.float32)


@pytest.mark.parametrize(
    ("words", "tensors", "message"),
    [
        ({"general.architecture": "gemma"}, {}, "general.architecture is 'gemma'; llama, qwen2"),
        ({"general.architecture": None}, {}, "general.architecture is None"),
        ({"llama.block_count": None}, {}, "the key llama.block_count is missing"),
        ({"llama.block_count": 0}, {}, "llama.block_count is 0; it must be a whole number"),
        ({"llama.block_count": True}, {}, "llama.block_count is True"),
        ({"llama.block_count": "2"}, {}, "llama.block_count is 2"),
        ({"llama.block_count": 3}, {}, r"the tensor model\.layers\.2\..* is missing"),
        ({"llama.block_count": 1}, {}, r"the tensor model\.layers\.1\..* is not known"),
        ({"llama.block_count": 10**9}, {}, "n_layers must be at most"),
        ({"llama.embedding_length": 131_064}, {}, r"is \[.*\]; by its config\.json it would be"),
        ({"llama.attention.head_count": 7}, {}, "head_count=7 does not divide the width"),
        ({"llama.attention.head_count": 24}, {}, "must be even"),
        ({"llama.rope.dimension_count": 2}, {}, "rope.dimension_count=2, and a head is 4 wide"),
        ({"llama.attention.key_length": 8}, {}, "key_length=8, and a head is 4 wide"),
        ({"llama.rope.scaling.type": "yarn"}, {}, "angles are scaled"),
        ({"llama.rope.freq_base": 0.0}, {}, "rope.freq_base is 0.0; it must be a number above 0"),
        ({"llama.attention.layer_norm_rms_epsilon": None}, {}, "rms_epsilon is missing"),
        ({}, {"rope_freqs.weight": np.ones(2, np.float32)}, "angles are scaled"),
        ({}, {"token_embd.weight": None}, "token_embd.weight is missing"),
        ({}, {"output.weight": ZEROS}, "lm_head.weight is not the embedding table: heads are tied"),
        ({}, {"blk.0.attn_q.bias": np.zeros(24, np.float32)}, r"q_proj\.bias is not known"),
        ({}, {"blk.0.ffn_gate_exps.weight": ZEROS}, r"blk\.0\.ffn_gate_exps\.weight is not known"),
        ({}, {"blk.1.ffn_up.weight": None}, r"the tensor .*up_proj\.weight is missing"),
        ({}, {"blk.1.ffn_up.weight": ZEROS}, r"up_proj\.weight is \[31, 24\]; by its"),
        ({}, {"blk.1.attn_q.weight": ZEROS}, r"blk\.1\.attn_q\.weight has 31 outputs for 6 heads"),
    ],
)
def test_what_is_no_network_of_ours_is_refused(words, tensors, message, tmp_path):
    path = write_gguf(
        tmp_path / "a.gguf", LLAMA, random_params(LLAMA), changed=words, tensors=tensors
    )
    with pytest.raises(ValueError, match=message) as caught:
        open_pretrained(path).params()
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_head_that_is_stored_and_equal_is_tied(tmp_path):
    params = random_params(LLAMA)
    table = params["token_embedding"]["embedding"]
    path = write_gguf(tmp_path / "a.gguf", LLAMA, params, tensors={"output.weight": table})
    chex.assert_trees_all_equal(open_pretrained(path).params(), params)


def test_folders_that_are_no_model_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"config\.json cannot be read: No such file"):
        open_pretrained(tmp_path)
    with pytest.raises(ValueError, match="no/where does not exist: name a published model"):
        open_pretrained(tmp_path / "no/where")
    (tmp_path / "a.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=r"a\.bin is no published model: a \.gguf file, or"):
        open_pretrained(tmp_path / "a.bin")
    folder = write_folder(tmp_path / "hf", LLAMA, random_params(LLAMA), n_parts=2)
    words = json.loads((folder / "config.json").read_text())
    for wrong, message in (
        ({"model_type": "mistral"}, "hf: model_type 'mistral' is no network"),
        ({"rope_scaling": {"factor": 2}}, "hf: rope_scaling="),
        ({"tie_word_embeddings": False}, "hf: tie_word_embeddings=False"),
    ):
        (folder / "config.json").write_text(json.dumps(words | wrong))
        with pytest.raises(ValueError, match=message):
            open_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(words))
    part = safetensors.read(folder / "model-0.safetensors")
    twice = {**safetensors.read(folder / "model-1.safetensors"), **part}
    (folder / "model-1.safetensors").write_bytes(safetensors.to_bytes(twice))
    with pytest.raises(ValueError, match=r"model-1\.safetensors has .*, and another part has it"):
        open_pretrained(folder).params()
    (folder / "model-1.safetensors").unlink()
    with pytest.raises(ValueError, match=r"model-1\.safetensors cannot be read"):
        open_pretrained(folder).params()


@pytest.mark.slow
@pytest.mark.skipif(not SMOLLM2, reason="LATENT_JAX_SMOLLM2 names no file")
def test_smollm2_computes_the_logits_of_transformers():
    """transformers reads the file by itself: other code for blocks, names and permutation."""
    for library in ("gguf", "accelerate", "torch"):
        pytest.importorskip(library, reason="transformers needs it to read a .gguf")
    transformers = pytest.importorskip("transformers", reason="needs the extra 'benchmark'")
    import torch

    model = open_pretrained(SMOLLM2)
    assert model.config.n_layers == 30 and model.config.norm_epsilon == 1e-5
    tokenizer, params = model.tokenizer(), model.params()
    text = b"The capital of France is Paris. In 1969 two men walked on the Moon; " * 6
    ids = np.stack([tokenizer.encode(text)[:64], np.random.default_rng(0).integers(0, 49152, 64)])
    ours = np.asarray(apply(GPT(model.config), {"params": params}, ids.astype(np.int32)))
    folder, name = os.path.split(SMOLLM2)
    network = transformers.AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=name, dtype=torch.float32
    )
    with torch.inference_mode():
        theirs = network.eval()(torch.from_numpy(ids).long()).logits.numpy()
    assert theirs.std() > 3
    np.testing.assert_allclose(ours, theirs, atol=1e-3, rtol=0)
    assert (ours.argmax(-1) == theirs.argmax(-1)).all()

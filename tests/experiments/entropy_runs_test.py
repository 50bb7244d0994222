"""What is said of a model of entropies that has read other text. blt_test.py has the runs."""

import logging

from configs import blt
from latent_jax.experiments import entropy_runs
from latent_jax.experiments.entropy_runs import KEY, log_other_text


def test_a_model_of_other_text_is_named(tmp_path, caplog):
    def said(own, its):
        runs = (blt.get_config(words).runs for words in (own, its))
        patches, entropy = next(runs).patches, next(runs).entropy
        (tmp_path / "config.json").write_text(entropy.to_json_best_effort())
        patches.hierarchy.entropy_model = str(tmp_path)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            log_other_text(patches)
        return [r.getMessage() for r in caplog.records if r.name == entropy_runs.__name__]

    assert not said("files=a/*.txt", "files=a/*.txt") and not said("", "")
    assert said("files=a/*.txt", "files=b/*.txt") == [
        f"{KEY}={tmp_path} has read other text: its data.files is ['b/*.txt'], and here it is "
        "['a/*.txt']"
    ]
    source, files = said("files=a/*.txt", "")
    assert "its data.source is ['python_docs'], and here it is ['files']" in source
    assert "its data.files is [], " in files

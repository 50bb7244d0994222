"""Records of a run sent to Weights & Biases (wandb.ai), beside metrics.jsonl and TensorBoard.

The package is an optional extra. Its variable WANDB_MODE=offline keeps everything on the disk, for
`wandb sync` to send later.
"""

import importlib.util
import json
import tempfile
import uuid
from collections.abc import Mapping
from typing import Any

from latent_jax.json_files import Kind, read_json
from latent_jax.paths import is_remote, replace_file
from latent_jax.training.run_files import RunFolder


def check_wandb(project: str) -> None:
    """Check that the package is installed; an empty project needs none.

    Raises:
        ValueError: `wandb` is not installed.
    """
    if project and importlib.util.find_spec("wandb") is None:
        raise ValueError(
            f"training.wandb={project} needs the package wandb, which is not installed: "
            '.venv/bin/python -m pip install -e ".[wandb]", or leave training.wandb empty'
        )


class WandbWriter:
    """One run in a project of Weights & Biases; a run that is resumed goes on under its old id.

    All metrics are drawn over the records' own "step". A resume may go back behind the last record
    that was sent. W&B's own step counter would drop the records of steps that are trained again;
    this way they appear twice.
    """

    def __init__(self, project: str, folder: RunFolder):
        """Start or resume the run.

        Raises:
            ValueError: Weights & Biases cannot be started, as when nobody is logged in.
        """
        import wandb

        # W&B's own files lie in the run folder; a run in a bucket has a temporary one for them.
        self._temporary = tempfile.TemporaryDirectory() if is_remote(folder.path) else None
        place = folder.path if self._temporary is None else self._temporary.name
        try:
            self._run = wandb.init(
                project=project,
                id=_id_of(folder),
                name=folder.path.name,
                config=folder.config,
                dir=str(place),
                resume="allow",
            )
        except Exception as error:  # the package has errors of its own for each way to fail
            raise ValueError(
                f"training.wandb={project}: Weights & Biases could not start: "
                f"{type(error).__name__}: {error}. Log in (wandb login), set WANDB_MODE=offline, "
                "or leave training.wandb empty"
            ) from error
        self._run.define_metric("*", step_metric="step")

    def write(self, record: Mapping[str, Any]) -> None:
        """Send one record; "bits_per_byte" of the split "train" is called "train/bits_per_byte"."""
        split = record["split"]
        metrics = {
            f"{split}/{name}": value
            for name, value in record.items()
            if name not in ("step", "split")
        }
        self._run.log({"step": record["step"], **metrics})

    def flush(self) -> None:
        """Do nothing: a thread of the package sends records as they come."""

    def close(self) -> None:
        """Send what is left."""
        self._run.finish()
        if self._temporary is not None:
            self._temporary.cleanup()


def _id_of(folder: RunFolder) -> str:
    """Return the id of the run in W&B, which the run folder keeps."""
    path = folder.path / "wandb" / "id.json"
    if path.exists():
        way_out = "remove it, and the run is a new one there"
        return read_json(path, Kind(keys={"id": str}, way_out=way_out))["id"]
    new = uuid.uuid4().hex[:12]
    replace_file(path, (json.dumps({"id": new}) + "\n").encode())
    return new

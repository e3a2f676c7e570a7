"""Put a checkpoint into the package, as the policy `nano`.

    python -m r4agent.training.nano.ship nano/school/checkpoint r4agent/policy/nano/checkpoint

Promises: weights rounded to bfloat16, which halves them; engines compute in float32, as the config says. The
other files are those of the checkpoint. SHA256SUMS comes last, and `nano_checkpoint` accepts nothing else.
Does not: evaluate; `benchmarks/nano_table.py` does, of what came of this.
"""

import argparse
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from r4agent.policy.nano import SUMS, sums

WEIGHTS = "model.safetensors"


def ship(checkpoint: Path, folder: Path) -> Path:
    """Write what is in `checkpoint` to `folder`, which is emptied before."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(checkpoint, folder, ignore=shutil.ignore_patterns(WEIGHTS, SUMS))
    weights = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(checkpoint / WEIGHTS).items()}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / SUMS).write_text("".join(f"{line}\n" for line in sums(folder)))
    return folder


def main() -> None:
    made = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    made.add_argument("checkpoint", type=Path)
    made.add_argument("folder", type=Path)
    given = made.parse_args()
    print(ship(given.checkpoint, given.folder))


if __name__ == "__main__":
    main()

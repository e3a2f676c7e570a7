"""What ships is the checkpoint, in half the bytes, under sums that its loader checks."""

from pathlib import Path

import pytest

from r4agent.engines import Checkpoint
from r4agent.errors import MissingError
from r4agent.policy import nano

torch = pytest.importorskip("torch")


def test_what_ships_is_the_checkpoint_rounded(
    student: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import load_file

    from r4agent.training.nano.ship import WEIGHTS, ship

    folder = ship(student.folder, tmp_path / "shipped")
    monkeypatch.setattr(nano, "FOLDER", folder)
    assert nano.nano_checkpoint() == folder
    whole, half = load_file(student.folder / WEIGHTS), load_file(folder / WEIGHTS)
    assert whole.keys() == half.keys()
    for name, tensor in whole.items():
        assert half[name].dtype == torch.bfloat16
        torch.testing.assert_close(half[name].float(), tensor, rtol=2**-8, atol=1e-30)
    for path in student.folder.iterdir():
        if path.name != WEIGHTS:
            assert (folder / path.name).read_bytes() == path.read_bytes()
    assert Checkpoint.load(str(folder)).budget == student.budget
    (folder / "more.txt").write_text("not shipped")
    with pytest.raises(MissingError, match="not those that were shipped"):
        nano.nano_checkpoint()
    assert ship(student.folder, folder) == folder  # anew, in its place
    assert nano.nano_checkpoint() == folder

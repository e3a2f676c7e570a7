"""The recorder: a line a step, through kills."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from r4agent.training.recorder import Recorder, read

ANY: Any = None


def begun(path: Path, step: int) -> None:
    """A trainer begins at this step."""
    state: Any = SimpleNamespace(global_step=step, max_steps=9, is_world_process_zero=True)
    Recorder(path).on_train_begin(ANY, state, ANY)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "run" / "metrics.jsonl"
    begun(path, 0)
    path.write_text("".join(json.dumps({"step": step}) + "\n" for step in (1, 2, 3)))
    return path


def test_what_was_logged_beyond_the_checkpoint_is_dropped(path: Path) -> None:
    begun(path, 2)
    assert [line["step"] for line in read(path)] == [1, 2]


def test_a_line_that_a_kill_cut_off_is_dropped(path: Path) -> None:
    whole = path.read_text()
    path.write_text(whole + '{"step": 4')
    begun(path, 4)
    assert path.read_text() == whole


def test_a_kill_at_the_start_loses_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    before = path.stat().st_mtime_ns
    begun(path, 3)  # nothing is dropped, nothing is written
    with pytest.raises(KeyboardInterrupt):
        begun(path, 1)
    assert path.stat().st_mtime_ns == before
    assert len(read(path)) == 3


def test_a_line_has_the_seconds_since_the_one_before(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 10.0, 12.5, 16.5])  # made, begun, two steps
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    recorder, state = Recorder(path), SimpleNamespace(global_step=3, max_steps=9, is_world_process_zero=True)
    at: Any = state
    recorder.on_train_begin(ANY, at, ANY)
    for state.global_step in (4, 5):
        recorder.on_log(ANY, at, ANY, {"loss": 1.0})
    assert read(path)[3:] == [
        {"step": 4, "seconds": 2.5, "loss": 1.0},
        {"step": 5, "seconds": 4.0, "loss": 1.0},
    ]

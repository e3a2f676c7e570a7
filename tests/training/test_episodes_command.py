"""`r4 episodes`: logs to a store, a store to rows, rows to another store."""

import json
import os
import shutil
from pathlib import Path

import pytest

from r4agent.command import main
from r4agent.training.store import EpisodeStore

from ..conftest import needs
from .conftest import Played


@pytest.fixture
def home(home: Path, episodes: Played) -> Path:
    """With the three episodes, too."""
    shutil.copytree(episodes.episodes[0].path.parent, home / "episodes")
    return home


def test_episodes_go_round(
    home: Path,
    tmp_path: Path,
    episodes: Played,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    needs("datasets")
    store, rows = str(tmp_path / "data"), str(tmp_path / "rows.parquet")
    assert main(["episodes", "gather", store, "--as-stage", "deliberate"]) == 0
    assert capsys.readouterr().out == f"3 new, 3 in {store}\n"
    assert main(["episodes", "list", store, "--status", "answered", "--tools", "zoom", "--json"]) == 0
    [entry] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (entry["id"], entry["stage"]) == (episodes.episodes[0].id, "deliberate")
    assert entry["tools"] == ["re_encode", "select_frames", "zoom"]
    assert main(["episodes", "list", store, "--max-turns", "1"]) == 0
    told = capsys.readouterr().out
    assert episodes.episodes[2].id in told
    assert told.endswith("1 in all\n")
    assert main(["episodes", "export", store, rows, "--exact"]) == 0
    assert main(["episodes", "export", store, str(tmp_path / "talk.jsonl"), "--form", "messages"]) == 0
    assert len((tmp_path / "talk.jsonl").read_text().splitlines()) == 3
    monkeypatch.setenv("R4_HOME", str(tmp_path / "elsewhere"))
    other = str(tmp_path / "other")
    capsys.readouterr()
    assert main(["episodes", "import", other, rows]) == 0
    assert capsys.readouterr().out == f"3 new, 3 in {other}\n"
    assert [one.episode.lines for one in EpisodeStore(other).select()] == [
        one.episode.lines for one in EpisodeStore(store).select()
    ]
    assert EpisodeStore(other).pictures() <= {
        f"img:{p.parent.name}{p.stem}" for p in (tmp_path / "elsewhere" / "pictures").glob("??/*")
    }


def test_clean_keeps_what_a_store_refers_to(home: Path, tmp_path: Path, episodes: Played) -> None:
    """Also once the logs are gone."""
    assert main(["episodes", "gather", str(tmp_path / "data")]) == 0
    kept = EpisodeStore(tmp_path / "data").pictures()
    pictures = tmp_path / "home" / "pictures"
    pictures.unlink()
    for ref in (*kept, "img:" + "0" * 64):
        path = pictures / ref[4:6] / f"{ref[6:]}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        os.utime(path, (0, 0))
    shutil.rmtree(tmp_path / "home" / "episodes")
    assert main(["clean"]) == 0
    assert {f"img:{path.parent.name}{path.stem}" for path in pictures.glob("??/*")} == kept


def test_what_is_wrong_is_told(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["episodes", "list", str(tmp_path / "none")]) == 4
    assert "no episode store" in capsys.readouterr().err
    assert main(["episodes", "gather", str(tmp_path / "data")]) == 0
    assert main(["episodes", "export", str(tmp_path / "data"), "out.parquet", "--supported", "yes"]) == 2
    assert "no episode fits" in capsys.readouterr().err
    assert main(["episodes", "export", str(tmp_path / "data"), "out.csv"]) == 2
    assert main(["episodes", "list", str(tmp_path / "data"), "--status", "done"]) == 2

"""The command: what it prints, where, and with which exit code."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw, ImageFont

from r4agent import ScriptedPolicy
from r4agent.command import main

ANSWER = ScriptedPolicy(replies=['<evidence>{"view":"v1"}</evidence><answer>42</answer>'])
NOT_FOUND = ScriptedPolicy(replies=["<not_found>it is not there</not_found>"])
SILENT = ScriptedPolicy(replies=[])


def _gone(messages: list[Any]) -> str:
    raise ConnectionError("gone")


FAILING = ScriptedPolicy(replies=[_gone])
OTHER_SCRIPT = ScriptedPolicy(replies=["<answer>\u65e5\u672c</answer>"])
ERASES = "\x1b[2J"
HERE = Path(__file__)


def broken() -> ScriptedPolicy:
    raise ZeroDivisionError("a bug")


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("R4_HOME", str(tmp_path / "home"))
    monkeypatch.syspath_prepend(str(HERE.parent))


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    image = Image.new("RGB", (640, 320), "white")
    ImageDraw.Draw(image).text((40, 120), "Invoice total 48.20 EUR", "black", ImageFont.load_default(size=36))
    path = tmp_path_factory.mktemp("page") / "page.png"
    image.save(path)
    return path


def policy(name: str) -> list[str]:
    return ["--policy", f"{HERE.stem}:{name}"]


def test_json_is_the_last_line(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", str(page), "What is the invoice total?", "--json"]) == 0
    out, err = capsys.readouterr()
    result = json.loads(out.splitlines()[-1])
    assert list(result) == ["answer", "status", "supported", "confidence", "evidence", "usage", "episode"]
    assert "48.20" in result["answer"]
    assert (result["status"], result["supported"]) == ("answered", "yes")
    assert set(result["evidence"][0]) == {"time", "page", "box", "text", "image", "view"}
    assert result["evidence"][0]["page"] == 1
    assert {"turns", "images", "image_tokens", "decoded_frames", "seconds"} <= set(result["usage"])
    assert Path(result["episode"]).exists()
    assert err == ""  # quiet when piped


def test_a_person_gets_a_few_lines(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", str(page), "q", *policy("ANSWER")]) == 0
    out = capsys.readouterr().out
    for part in ("answer", "42", "page 1", "cost", "1 turns", "log"):
        assert part in out


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["ask", "PAGE", "q", *policy("NOT_FOUND")], 1, ""),
        (["ask", "PAGE", "q", "--single-pass", *policy("NOT_FOUND")], 1, ""),
        (["ask", "PAGE", "q", "--budget", "turn=3"], 2, "KEY one of turns"),
        (["ask", "PAGE", "q", "--budget", "turns=many"], 2, "valid integer"),
        (["ask", "PAGE", " ", *policy("ANSWER")], 2, "give a question"),
        (["ask", "PAGE", "q", "--policy", "gpt"], 2, "MODULE:NAME"),
        (["ask", "nowhere.mp4", "q"], 3, "nowhere.mp4"),
        (["ask", str(HERE), "q"], 3, "test_command.py"),
        (["ask", "PAGE", "q", "--policy", "no_such_module:x"], 4, "No module named"),
        (["ask", "PAGE", "q", *policy("SILENT")], 5, "the script has 0 replies"),
        (["ask", "PAGE", "q", *policy("broken")], 5, "calling it failed: ZeroDivisionError: a bug"),
        (["ask", "PAGE", "q", *policy("FAILING")], 5, "the policy r4-scripted failed: ConnectionError: gone"),
        (["textworld", "--level", "9", "--n", "1", "--out", "OUT"], 2, "9"),
        (["textworld", "--level", "0", "--n", "0", "--out", "OUT"], 2, "0"),
    ],
)
def test_exit_codes_and_one_line_errors(
    arguments: list[str],
    code: int,
    told: str,
    page: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"PAGE": str(page), "OUT": str(tmp_path / "out")}
    assert main([places.get(a, a) for a in arguments]) == code
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == (1 if told else 0)
    assert "Traceback" not in err


def test_a_bug_is_one_line_too(
    page: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("r4agent.budget.Budget.parse", lambda pairs: pairs[7])
    assert main(["ask", str(page), "q"]) == 70
    err = capsys.readouterr().err
    assert err.startswith("r4: internal error: IndexError")
    assert err.count("\n") == 1


def test_argparse_errors_are_code_two() -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["ask"])


def test_the_world_is_written_and_its_folder_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["textworld", "--level", "0", "--n", "1", "--seed", "3", "--out", str(tmp_path / "w")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "w")
    assert len(list((tmp_path / "w" / "clips").glob("*.mp4"))) == 1


def test_clean_keeps_what_episodes_refer_to(
    page: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ask", str(page), "q", *policy("ANSWER")]) == 0
    pictures = tmp_path / "home" / "pictures"
    [kept] = pictures.glob("??/*.png")
    stray = kept.with_name("f" * 62 + ".png")
    stray.write_bytes(b"x" * 2_000_000)
    for path in (kept, stray):
        os.utime(path, (1e9, 1e9))
    capsys.readouterr()
    assert main(["clean"]) == 0
    assert "freed 2.0 MB" in capsys.readouterr().out
    assert [kept.exists(), stray.exists()] == [True, False]


def test_the_doctor_does_the_real_thing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for name in ("python", "packages", "store", "video", "reader", "pdf"):
        assert f"ok  {name}" in out


def test_the_doctor_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pypdfium2", None)
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    assert main(["doctor"]) == 4
    out = capsys.readouterr().out
    assert 'pip install "r4agent[pdf]"' in out
    assert 'pip install "r4agent[ocr]"' in out


@pytest.mark.parametrize(
    ("redirect", "code"), [("| head -1", 0), ("> /dev/full", 5), (">&-", 0)], ids=["pipe", "full", "closed"]
)
def test_output_that_goes_nowhere(redirect: str, code: int, page: Path) -> None:
    command = f"{sys.executable} -m r4agent ask {page} q {' '.join(policy('ANSWER'))} {redirect}"
    shell = ["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"]
    done = subprocess.run(
        shell, env={**os.environ, "PYTHONPATH": str(HERE.parent)}, capture_output=True, text=True
    )
    assert (done.returncode, "internal error" in done.stderr) == (code, False)


def test_an_answer_in_another_script_reaches_an_ascii_terminal(page: Path) -> None:
    command = [sys.executable, "-m", "r4agent", "ask", str(page), "q", *policy("OTHER_SCRIPT")]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0
    assert r"\u65e5\u672c" in done.stdout


def test_a_terminal_sees_progress(page: Path) -> None:
    """Run on a real pseudo-terminal: turns are told on standard error."""
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "r4agent", "ask", str(page), "q", *policy("ANSWER")]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent), "TERM": "xterm"}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=slave, env=environment) as process:
        os.close(slave)
        seen = b""
        while chunk := _read(master):
            seen += chunk
        assert process.wait() == 0
    os.close(master)
    assert b"turn 1" in seen
    assert b"answer" in seen


def _read(master: int) -> bytes:
    try:
        return os.read(master, 4096)
    except OSError:  # Linux's way to say that the other end is closed
        return b""


def test_text_from_a_video_cannot_drive_the_terminal(
    page: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = ScriptedPolicy(replies=[f"<answer>a{ERASES}b[red]c</answer>"])
    module: Any = sys.modules[__name__]
    monkeypatch.setattr(module, "ANSWER", hostile)
    monkeypatch.setitem(sys.modules, HERE.stem, module)
    assert main(["ask", str(page), "q", *policy("ANSWER")]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert r"a\x1b[2Jb[red]c" in out

"""The page of an evaluation, and the index that links to it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from r4agent.command import main
from r4agent.errors import UsageError
from r4agent.evaluation.results import Results, Row, write_row
from r4agent.evaluation.summary import METRICS
from r4agent.log import Log
from r4agent.page import view, write_index, write_results_page
from r4agent.page.results_page import is_right

from .conftest import HOSTILE, Tree, call, lines_of, written

Make = Callable[..., Results]


@pytest.fixture
def results_of(tmp_path: Path) -> Make:
    """`results_of(rows, control)`: a result file with these rows."""

    def make(rows: list[dict[str, Any]], control: str | None = None, name: str = "text world") -> Results:
        folder = tmp_path / "results"
        path = folder / f"run-{len(list(folder.glob('*')))}.jsonl"
        log = Log(path)
        budget = {"turns": 8, "images": 48}
        config = {
            "policy": "ocr",
            "graph": "rumination",
            "control": control,
            "budget": budget,
            "profile": "q",
        }
        header = {
            "type": "results",
            "schema": 1,
            "questions": {"name": name, "n": len(rows), "seed": 7, "sha256": "ab"},
            "config": config,
            "prompt": f"You answer. {HOSTILE}",
            "versions": {"r4agent": "0.1.0"},
            "machine": "m",
        }
        log.once("results", header)
        for number, row in enumerate(rows):
            common = {
                "id": f"q{number}",
                "media": "m.mp4",
                "question": f"question {number}?",
                "answers": ("yes",),
            }
            write_row(log, Row(**{**common, "category": "signs", **row}))
        return Results.read(path)

    return make


def right(**more: Any) -> dict[str, Any]:
    scores = {"exact_match": 1.0, "anls": 1.0, "choice": None, "evidence_recall": 1.0}
    cost = {"image_tokens": 900, "turns": 2, "megapixels": 1.5, "decoded_frames": 9, "seconds": 1.25}
    return {"status": "answered", "answer": "yes", "scores": scores, "cost": cost, **more}


def wrong(**more: Any) -> dict[str, Any]:
    row = right(**{"answer": "maybe", **more})
    return row | {"scores": {"exact_match": 0.0, "anls": 0.25, "choice": None, "evidence_recall": 0.0}}


def failed(**more: Any) -> dict[str, Any]:
    return {"status": "failed", "error": f"MediaError: cut short {HOSTILE}", **more}


def test_failed_questions_are_never_among_the_wrong(results_of: Make, episode: Path, tmp_path: Path) -> None:
    results = results_of([right(), wrong(episode=str(episode)), failed(), failed(episode=str(episode))])
    page = write_results_page(results, tmp_path / "page")
    text = Tree(page.read_text()).text
    assert "2 of 4 questions scored, 2 failed and counted apart" in text
    failures, mistakes = text[text.index("failed 2") :].split("wrong 1")
    assert failures.count("MediaError") == 2
    assert "question 1?" not in failures
    assert "question 1?" in mistakes
    assert "question 0?" not in mistakes


def test_the_figures_have_their_intervals(results_of: Make, tmp_path: Path) -> None:
    page = write_results_page(results_of([right(), right(), right(), wrong()]), tmp_path).read_text()
    text = " ".join(Tree(page).text.split())
    assert "exact match75.0 %30.1 to 95.4" in text  # Wilson's interval of 3 in 4
    assert "evidence recall75.0 %" in text
    for part in ("image tokens", "megapixels shown", "turns", "frames decoded", "seconds"):
        assert part in text
    for setting in ("config: budget", "turns 8, images 48", "questions: seed", "versions: r4agent"):
        assert setting in text


def test_every_metric_of_the_summary_has_its_place(results_of: Make, tmp_path: Path) -> None:
    scores = dict.fromkeys(METRICS, 0.5) | {"exact_match": 1.0}
    text = Tree(write_results_page(results_of([right(scores=scores)]), tmp_path).read_text()).text
    for metric in METRICS:
        assert metric.replace("_", " ").split()[0].lower() in text.lower()


def test_links_lead_to_the_episodes_pages(results_of: Make, episode: Path, tmp_path: Path) -> None:
    results = results_of([wrong(episode=str(episode)), wrong(episode="/gone/e-1.jsonl"), failed()])
    page = write_results_page(results, tmp_path / "page")
    links = [a["href"] for a in Tree(page.read_text()).all("a") if not (a["href"] or "").startswith("#")]
    assert links == [f"pages/{episode.stem}.html"]
    linked = Tree((page.parent / links[0]).read_text())
    assert "Wrong." in linked.text


def test_several_runs_stand_side_by_side(results_of: Make, tmp_path: Path) -> None:
    runs = [results_of([right()] * 6), results_of([wrong()] * 5 + [right()], control="blank-crop")]
    text = " ".join(Tree(write_results_page(runs, tmp_path).read_text()).text.split())
    assert "ocr, blank-crop minus ocr, rumination, on 6 questions" in text
    assert "-83.3" in text
    other = results_of([right(question="another?")], name="other questions")
    text = Tree(write_results_page([runs[0], other], tmp_path).read_text()).text
    assert "is not compared" in text
    with pytest.raises(UsageError, match="at least one"):
        write_results_page([], tmp_path)


def test_questions_with_nothing_to_compare_with_are_neither_right_nor_wrong(results_of: Make) -> None:
    unknown = right() | {"scores": {"exact_match": None, "choice": None}}
    rows = results_of([right(), wrong(), unknown, failed()]).rows
    assert [is_right(row) for row in rows] == [True, False, None, None]
    choice = wrong() | {"scores": {"exact_match": 0.0, "choice": 1.0}}
    assert is_right(results_of([choice]).rows[0]) is True


def test_hostile_text_is_text(results_of: Make, tmp_path: Path) -> None:
    rows = [wrong(question=HOSTILE, answer=HOSTILE, answers=(HOSTILE,), category=HOSTILE), failed(id=HOSTILE)]
    page = write_results_page(results_of(rows, name=HOSTILE), tmp_path).read_text()
    tree = Tree(page)
    assert tree.all("script") == []
    assert tree.all("img") == []
    assert "\u202e" not in page
    assert "{{ 7 * 7 }}" in tree.text


def test_the_index_says_right_and_wrong_where_a_result_file_does(
    results_of: Make, clip: Path, asked: Callable[..., Path], tmp_path: Path
) -> None:
    logs = [asked(clip, ["<answer>x</answer>"], f"which {n}?") for n in range(3)]
    results_of([right(episode=str(logs[0])), wrong(episode=str(logs[1]))])
    (tmp_path / "episodes").mkdir()
    (tmp_path / "episodes" / "other.jsonl").write_bytes(logs[2].read_bytes())
    (tmp_path / "episodes" / "junk.jsonl").write_text('{"type":"episode","schema":1,"key":"episode"}\n')
    (tmp_path / "episodes" / "notes.jsonl").write_text("mine\n")
    (tmp_path / "episodes" / "broken.jsonl").write_text('{"type":"results","schema":9,"key":"results"}\n')
    index = write_index(tmp_path)
    tree = Tree(index.read_text())
    judged = [a["data-judged"] for a in tree.all("tr") if "data-judged" in a]
    assert sorted(judged) == ["-", "right", "wrong"]
    assert "junk.jsonl" in tree.text
    assert "broken.jsonl" in tree.text
    assert "notes.jsonl" not in tree.text
    links = [str(a["href"]) for a in tree.all("a")]
    assert all((tmp_path / link).exists() for link in links if not link.startswith("#"))
    assert "evaluation-results-run-0.html" in links


def test_pages_made_before_are_left_alone(episode: Path, tmp_path: Path) -> None:
    log = tmp_path / "e.jsonl"
    log.write_bytes(episode.read_bytes())
    calls: list[tuple[int, int]] = []
    write_index(tmp_path, tmp_path / "out", progress=lambda done, total: calls.append((done, total)))
    made = (tmp_path / "out" / "pages" / "e.html").stat().st_mtime_ns
    write_index(tmp_path, tmp_path / "out")
    assert (tmp_path / "out" / "pages" / "e.html").stat().st_mtime_ns == made
    assert calls == [(1, 1)]


def test_view_makes_what_a_path_is(results_of: Make, tmp_path: Path) -> None:
    results = results_of([right()])
    assert view(results.path) == results.path.with_name(f"{results.path.stem}-page") / "index.html"
    assert view(results.path, tmp_path / "out") == tmp_path / "out" / "index.html"
    other = results_of([wrong()], control="no-tool")
    both = view([results.path, other.path], tmp_path / "both").read_text()
    assert "minus ocr, rumination" in Tree(both).text
    compared = [str(a["href"]) for a in Tree(view(tmp_path / "results").read_text()).all("a")]
    assert "compared-ab.html" in compared
    with pytest.raises(UsageError, match="all are result files"):
        view([results.path, tmp_path])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no episodes and no results"):
        view(tmp_path / "empty")


def test_results_of_one_name_in_two_folders_have_a_page_each(results_of: Make, tmp_path: Path) -> None:
    path = results_of([right()]).path
    for name in ("a", "b"):
        (tmp_path / "all" / name).mkdir(parents=True)
        (tmp_path / "all" / name / path.name).write_bytes(path.read_bytes())
    links = {str(a["href"]) for a in Tree(write_index(tmp_path / "all").read_text()).all("a")}
    assert {f"evaluation-{name}-{path.stem}.html" for name in ("a", "b")} <= links


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("created",), "yesterday"),
        (("created",), 10**400),
        (("created",), float("inf")),
        (("media", "path"), None),
        (("media", "duration"), 10**400),
        (("continues",), "odd"),
        (("question",), "long " * 250_000),
        (("question",), HOSTILE),
    ],
)
def test_an_odd_log_costs_the_index_one_row(
    keys: tuple[str, ...], value: Any, episode: Path, tmp_path: Path
) -> None:
    (tmp_path / "well.jsonl").write_bytes(episode.read_bytes())
    header, *rest = lines_of(episode)
    inner = header
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    written(tmp_path / "odd.jsonl", [header, *rest])
    (tmp_path / "deep.jsonl").write_text("[" * 100_000)
    tree = Tree(write_index(tmp_path).read_text())
    links = [a["href"] for a in tree.all("a")]
    assert "pages/well.html" in links
    assert "pages/odd.html" in links or "odd.jsonl" in tree.text


def test_an_odd_message_costs_the_index_one_row(episode: Path, tmp_path: Path) -> None:
    (tmp_path / "well.jsonl").write_bytes(episode.read_bytes())
    lines = lines_of(episode)
    blocks = next(line["content"] for line in lines if isinstance(line.get("content"), list))
    next(block for block in blocks if block["type"] == "image")["file_id"] = ["a", "list"]
    written(tmp_path / "odd.jsonl", lines)
    text = Tree(write_index(tmp_path).read_text()).text
    assert "1 episode" in text
    assert "odd.jsonl: a line is not as r4agent writes it" in text


def test_hostile_names_of_tools_are_text_in_the_index(
    clip: Path, asked: Callable[..., Path], tmp_path: Path
) -> None:
    name = "<b>\u202emooz\u202c</b>"
    made = asked(clip, [call(name), "<answer>x</answer>"])
    tree = Tree(write_index(made.parent, tmp_path).read_text())
    assert tree.all("b") == []
    assert "\u202e" not in tree.text
    assert tree.text.count("<b>U+202Emooz") == 2  # in the filter and in the row


def test_the_command_prints_the_index(
    results_of: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results_of([right()])
    assert main(["view", str(tmp_path / "results"), "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out' / 'index.html'}\n"


def test_a_damaged_result_file_is_one_line(
    results_of: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = results_of([right()]).path
    path.write_text(path.read_text() + json.dumps({"type": "row", "key": "x"}) + "\n")
    assert main(["view", str(path)]) == 5
    assert capsys.readouterr().err.count("\n") == 1

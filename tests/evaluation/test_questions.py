"""Questions: two forms of rows, what is wrong with them, and the lot."""

import json
from pathlib import Path
from typing import Any

import pytest

from r4agent.errors import MediaError, UsageError
from r4agent.evaluation import of_file, of_textworld
from r4agent.evaluation.answers import score_answer
from r4agent.evaluation.questions import media_of
from r4agent.textworld import writer

ROW = {
    "id": "a",
    "video": "clip.mp4",
    "question": "Which port?",
    "answers": ["8080"],
    "t_start": 1.5,
    "t_end": 2.5,
    "box": [10, 20, 110, 40],
    "text_h_px": 14,
    "licence": "MIT",
}


def write(folder: Path, *rows: Any) -> Path:
    path = folder / "qa.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    (folder / "clip.mp4").write_bytes(b"never opened here")
    return path


def test_a_row_of_a_recording(tmp_path: Path) -> None:
    (item,) = of_file(write(tmp_path, ROW)).items
    assert item.media == str(tmp_path / "clip.mp4")
    assert (item.id, item.question, item.answers) == ("a", "Which port?", ("8080",))
    (span,) = item.evidence
    assert (span.start, span.end, span.box, span.unit) == (1.5, 2.5, (10, 20, 110, 40), "seconds")
    assert item.meta == {"text_height": 14, "category": "clip"}


def test_rows_about_pages_with_choices_or_without_evidence(tmp_path: Path) -> None:
    known = {"id": "b", "video": "clip.mp4", "question": "?", "answers": ["x"], "category": "menus"}
    page = known | {"page": 3, "choices": ["x", "y"]}
    items = of_file(write(tmp_path, page, known | {"id": "c"})).items
    assert items[0].evidence[0].unit == "page"
    assert (items[0].evidence[0].start, items[0].choices) == (3, ("x", "y"))
    assert items[1].evidence == ()
    assert items[1].meta == {"category": "menus"}


def test_a_row_says_that_there_is_no_answer(tmp_path: Path) -> None:
    (item,) = of_file(write(tmp_path, ROW | {"answers": [], "unanswerable": True})).items
    assert score_answer(item, None, "refused")["exact_match"] == 1


def test_an_item_is_a_row_too(tmp_path: Path) -> None:
    row = {"id": "i", "media": "clip.mp4", "question": "?", "evidence": [{"start": 1, "end": 2}]}
    (item,) = of_file(write(tmp_path, row)).items
    assert item.media == str(tmp_path / "clip.mp4")
    assert media_of(item, tmp_path / "clips") == item.media


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([ROW, "{not json"], "qa.jsonl:2: not a question"),
        (["[1]"], "qa.jsonl:1: not a question: expected an object"),
        (
            [{k: v for k, v in ROW.items() if k != "answers"}],
            "qa.jsonl:1: not a question: it lacks 'answers'",
        ),
        (
            [ROW | {"t_end": 1.0}],
            "qa.jsonl:1: not a question: the line: Value error, start 1.5 is after end 1",
        ),
        ([ROW | {"answers": "8080"}], "qa.jsonl:1: not a question: answers: give a list"),
        ([ROW, ROW], "the id 'a' stands there twice"),
        ([], "holds no questions"),
        ([ROW | {"video": ""}], "qa.jsonl:1: not a question: video: is empty"),
        ([ROW | {"video": "gone.mp4"}], "media 'gone.mp4': is not in"),
        ([ROW | {"video": "x.mp4"}, ROW | {"id": "b", "video": "y.mp4"}], "(2 such): media 'x.mp4'"),
        ([ROW | {"video": "x" * 5000}], "is not in "),
        ([ROW | {"video": "nul\0"}], "is not in "),
        ([ROW | {"video": "/etc/passwd"}], "--root DIR allows another folder"),
        (["[" * 200_000], "qa.jsonl:1: not a question: maximum recursion depth"),
        (
            [ROW | {"box": [float("nan"), 1, 2, 3]}],
            "qa.jsonl:1: not a question: box.0: Input should be a finite",
        ),
        ([ROW | {"t_start": float("nan")}], "qa.jsonl:1: not a question: start: Input should be a finite"),
        ([ROW | {"t_end": float("inf")}], "qa.jsonl:1: not a question: end: Input should be a finite"),
        ([ROW | {"text_h_px": "14"}], "the height of the text is '14'"),
        ([ROW | {"text_h_px": float("nan")}], "the height of the text is nan"),
        ([ROW | {"text_h_px": 0}], "the height of the text is 0"),
        ([{k: v for k, v in ROW.items() if not k.startswith("t_")}], "lacks a moment"),
        ([ROW | {"question": " "}], "question: is empty"),
        ([ROW | {"question": "\ud800"}], "surrogates"),
        ([ROW | {"choices": ["80", "81"]}], "name none of the choices"),
        ([ROW | {"choices": ["8080", *map(str, range(30))]}], "at most 26 can be lettered"),
        (
            [
                {
                    "id": "a",
                    "media": "clip.mp4",
                    "question": "?",
                    "answers": ["x"],
                    "meta": {"distractors": ["y"]},
                }
            ],
            "qa.jsonl:1: not a question: string indices",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, rows: list[Any], message: str) -> None:
    with pytest.raises(MediaError) as error:
        of_file(write(tmp_path, *rows))
    assert message in str(error.value)


def test_media_elsewhere_need_a_root(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    video = tmp_path / "videos" / "v.mp4"
    video.write_bytes(b"never opened here")
    (tmp_path / "questions").mkdir()
    rows = [
        ROW | {"id": name, "video": name} for name in (str(video), "../videos/v.mp4", "link.mp4", "v.mp4")
    ]
    path = write(tmp_path / "questions", *rows)
    (path.parent / "link.mp4").symlink_to(video)
    with pytest.raises(MediaError, match=r"\(4 such\): .*v.mp4': is not in .*/questions; --root DIR"):
        of_file(path)
    assert {item.media for item in of_file(path, roots=[video.parent]).items} == {str(video)}


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="can't be read"):
        of_file(tmp_path / "none.jsonl")
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MediaError, match="not a text file"):
        of_file(tmp_path / "binary.jsonl")


def test_the_lot_is_the_same_for_a_seed_and_keeps_the_order(tmp_path: Path) -> None:
    path = write(tmp_path, *(ROW | {"id": str(i)} for i in range(40)))
    first = of_file(path, 10, seed=1)
    assert first == of_file(path, 10, seed=1)
    assert first.items != of_file(path, 10, seed=2).items
    assert [int(item.id) for item in first.items] == sorted(int(item.id) for item in first.items)
    with pytest.raises(UsageError, match="has 40 questions"):
        of_file(path, 41)


def test_the_text_world_gives_one_question_a_clip() -> None:
    questions = of_textworld(level=2, n=5, seed=4)
    assert len({item.media for item in questions.items}) == 5
    assert questions == of_textworld(level=2, n=5, seed=4)
    assert questions.sha256 != of_textworld(level=2, n=5, seed=5).sha256
    assert of_textworld(level=2, n=3, seed=4).items == questions.items[:3]


def test_questions_about_other_pixels_are_other_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    before = of_textworld(level=0, n=2, seed=4).sha256
    monkeypatch.setattr(writer, "DRAWING", writer.DRAWING + 1)
    assert of_textworld(level=0, n=2, seed=4).sha256 != before


@pytest.mark.parametrize(("n", "seed", "message"), [(0, 1, "n 0"), (3, -1, "seed -1")])
def test_a_wrong_number_is_told(n: int, seed: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        of_textworld(0, n, seed)


def test_a_clip_is_made_when_it_is_asked_about(tmp_path: Path) -> None:
    item = of_textworld(level=0, n=1, seed=2).items[0]
    path = Path(media_of(item, tmp_path))
    made = path.stat().st_mtime_ns
    assert path.is_file()
    assert Path(media_of(item, tmp_path)).stat().st_mtime_ns == made

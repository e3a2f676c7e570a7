"""Candidates by the kind of question, from lines written down by hand."""

import pytest

from r4agent.geometry import Box
from r4agent.policy.extract import candidates, found, mention, nearness, understand
from r4agent.text import Line


def line(text: str, x: float = 0, y: float = 0, width: float | None = None) -> Line:
    return Line(text, Box(x, y, x + (width or 8 * len(text)), y + 14, "shown"), 0.99)


DASHBOARD = (
    line("Regions", 10, 0),
    line("5 regions, latency of the last hour", 10, 20),
    line("Region", 10, 60), line("p50", 200, 60), line("p99", 300, 60), line("Disk used", 400, 60),
    line("north-quay", 10, 90), line("21 ms", 200, 90), line("164 ms", 300, 90), line("71 %", 400, 90),
    line("far-buoy", 10, 120), line("58 ms", 200, 120), line("412 ms", 300, 120), line("92 %", 400, 120),
    line("20:19:44.70", 10, 300), line("gangway-api", 120, 300), line("listening on port 7443", 240, 300),
    line("20:19:45.10", 10, 320), line("mailer", 120, 320), line("batch 66120 stored", 240, 320),
)  # fmt: skip
DIALOG = (
    line("Promote manifest-sync to every region?", 300, 100),
    line("Build", 300, 140), line("c07d1e5b", 420, 140),
    line("Approved by", 300, 170), line("Mireille Castan", 420, 170),
    line("Change window", 300, 200), line("22:30 to 23:15 UTC", 420, 200),
    line("Expires", 300, 230), line("2026-12-02", 420, 230),
    line("Manifest file", 300, 260), line("/etc/ferry/manifest.yaml", 420, 260),
)  # fmt: skip
TERMINAL = (
    line("$ aider --version", 0, 0),
    line("aider 0.37.0", 0, 20),
    line("Requirement already satisfied: tiktoken==0.7.0 in ./venv", 0, 40),
    line("Parser Error: syntax error at end of input", 0, 80),
    line("Timecode 00:00:04;05 frame 125", 0, 120),
    line("export DATA_DIR=/plugins/deploy", 0, 200),
    line("Snapshot 7f3a9c21 finished, 48.2 GB", 0, 160),
)
RECEIPT = (
    line("Bread", 0, 0), line("2", 100, 0), line("3.10", 200, 0),
    line("Total", 0, 40), line("€12.40", 200, 40),
    line("VAT 7 %", 0, 60), line("0.81", 200, 60),
)  # fmt: skip
TOOLTIP = (
    line("date", 0, 0), line("May 16, 2023", 60, 0),
    line("Count of records", 0, 20), line("60,409", 160, 20),
    line("May 21, 2023", 400, 20), line("10", 600, 300),
)  # fmt: skip
FORM = (
    line("About", 0, 0),
    line("Device name", 0, 40), line("delta-99", 400, 40),
    line("Serial number", 0, 60), line("QX 4471", 400, 60),
)  # fmt: skip


@pytest.mark.parametrize(
    ("question", "lines", "answer"),
    [
        ("What is the p99 latency of the region far-buoy?", DASHBOARD, "412 ms"),
        ("What is the p50 latency of the region north-quay?", DASHBOARD, "21 ms"),
        ("What percentage of the disk is used in the region far-buoy?", DASHBOARD, "92 %"),
        ("On which port is gangway-api listening?", DASHBOARD, "7443"),
        ("Who approved the promotion of manifest-sync?", DIALOG, "Mireille Castan"),
        ("Which build is to be promoted (commit hash)?", DIALOG, "c07d1e5b"),
        ("On what date does it expire?", DIALOG, "2026-12-02"),
        ("Which file holds the manifest?", DIALOG, "/etc/ferry/manifest.yaml"),
        ("Which version does 'aider --version' print?", TERMINAL, "0.37.0"),
        ("Which version of tiktoken is already satisfied?", TERMINAL, "0.7.0"),
        ("What is the value of DATA_DIR?", TERMINAL, "/plugins/deploy"),
        ("What parser error is shown?", TERMINAL, "syntax error at end of input"),
        ("Which timecode is shown when the frame is 125?", TERMINAL, "00:00:04;05"),
        ("How large is the snapshot that finished?", TERMINAL, "48.2 GB"),
        ("Which commit hash does the snapshot have?", TERMINAL, "7f3a9c21"),
        ("What is the total amount of the receipt?", RECEIPT, "€12.40"),
        ("How many records are there for May 16, 2023?", TOOLTIP, "60,409"),
        ("What is the 'Device name' in the settings?", FORM, "delta-99"),
    ],
)
def test_the_best_candidate(question: str, lines: tuple[Line, ...], answer: str) -> None:
    assert candidates(understand(question), lines)[0].text == answer


def test_a_label_is_answered_by_what_stands_beside_or_below_it() -> None:
    question = understand("What does the sign labelled K say?")
    lines = (line("K", 100, 100), line("MOTOR", 100, 120), line("53CP9S", 500, 400))
    assert candidates(question, lines)[0].text == "MOTOR"
    beside = (line("Branch", 0, 0), line("v1.exercism.io", 80, 0), line("Fork", 0, 200))
    assert candidates(understand("Which branch is shown?"), beside)[0].text == "v1.exercism.io"


def test_the_colour_that_a_text_stands_on() -> None:
    question = understand("What does the red sign say?")
    lines = (line("TEA", 0, 0), line("barn", 300, 300))
    best = candidates(question, lines, lambda o: "red" if o.text == "barn" else "blue")[0]
    assert (best.text, best.score) == ("barn", 1.0)


def test_a_candidate_never_repeats_the_question() -> None:
    lines = (line("Promote manifest-sync"), line("manifest-sync", 0, 40), line("11200000", 0, 80))
    for asked in ("Who wants to promote manifest-sync?", "How many records has service 11200000?"):
        said = {c.text for c in candidates(understand(asked), lines)}
        assert not said & {"manifest-sync", "11200000"}


def test_what_is_not_there_scores_low() -> None:
    best = candidates(understand("What is the price of the blueberry muffin at Zurich?"), DASHBOARD)
    assert all(candidate.score < 0.2 for candidate in best)
    assert mention(understand("blueberry muffin"), DASHBOARD) == 0


def test_choices_are_the_only_candidates() -> None:
    question = understand("Which region has the largest p99?", ["north-quay", "far-buoy", "isle-1"])
    assert {c.text for c in candidates(question, DASHBOARD)} == {"north-quay", "far-buoy"}


@pytest.mark.parametrize(
    ("word", "text", "surely"),
    [
        ("7443", "port 7443", 1.0),
        ("97,282", "97282 records", 1.0),
        ("11200000", "11,200,000", 1.0),
        ("11200000", "11250000", 0.0),  # another number
        ("8", "18", 0.0),
        ("may 18, 2023", "May 19, 2023", 0.0),
        ("may 18, 2023", "on May 18, 2023:", 1.0),
        ("approved", "Approved by", 1.0),
        ("lanternfield", "ops.lanternfild.example", 0.7),  # a reader's slip
        ("elephant", "Approved by", 0.0),
    ],
)
def test_a_word_is_found_in_a_line(word: str, text: str, surely: float) -> None:
    assert found(word, text) == pytest.approx(surely, abs=0.15)


def test_labels_stand_left_of_or_above_what_they_label() -> None:
    cell = line("412 ms", 300, 120)
    left, right = line("far-buoy", 200, 120), line("92 %", 400, 120)
    above, below = line("p99", 300, 90), line("241 ms", 300, 150)
    assert nearness(cell, cell) == 1.0
    assert nearness(cell, left) > nearness(cell, right)
    assert nearness(cell, above) > nearness(cell, below)
    assert nearness(cell, line("elsewhere", 900, 900)) < 0.3


@pytest.mark.parametrize("question", ["", "?", "'", '""', "' '", "x" * 100_000, "What (is [the* +?", "\x00"])
def test_any_question_is_understood(question: str) -> None:
    assert isinstance(candidates(understand(question), TERMINAL), list)


def test_no_lines_no_candidates() -> None:
    assert candidates(understand("What does it say?"), ()) == []


def test_a_question_may_say_where_to_look() -> None:
    assert understand("What is the total on page 23 or slide 4?").places("frames") == [23, 4]
    assert understand("What does it say at 12.5 s, and after 3 seconds?").places("times") == [12.5, 3]
    assert understand("Which timecode reads 00:00:05;24?").places("times") == []


def test_words_for_the_media_count_when_there_are_no_others() -> None:
    assert dict(understand("What is the frame number?").words)["frame"] == 1.0
    assert "frame" not in dict(understand("What is the total in this frame?").words)


def test_a_word_that_stands_everywhere_says_less() -> None:
    """Two candidates: one beside a word that only it has, one beside a word that every line has."""
    texts = ("commit alpha 11", "commit gamma 22", "commit delta 33", "zebra 44")
    lines = [line(text, y=40 * n) for n, text in enumerate(texts)]
    scores = {c.text: c.score for c in candidates(understand("What number of commit zebra?"), lines)}
    assert scores["44"] > max(scores[other] for other in ("11", "22", "33"))

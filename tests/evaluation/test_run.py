"""Runs: each question once, whatever is killed; failures apart; what a control costs."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from r4agent import Budget, Episode, MissingError, RunError, ScriptedPolicy, UsageError
from r4agent.evaluation import Questions, Results, Subject, compare, evaluate, summary
from r4agent.evaluation import run as module
from r4agent.evaluation.subject import equal_pixels
from r4agent.geometry import QWEN2_5_VL
from r4agent.item import Item, Span

pytestmark = pytest.mark.usefixtures("r4_home")
NOT_FOUND = "<not_found>too small</not_found>"
LOOK = '<tool_call>{"name": "select_frames", "arguments": {"times": [1.0, 2.0]}}</tool_call>'


def scripted(*replies: Any) -> Subject:
    return Subject(policy=ScriptedPolicy(replies=replies))


def test_every_question_is_a_row_with_scores_and_costs(signs: Questions) -> None:
    seen: list[tuple[int, int]] = []
    results = evaluate(signs, scripted(LOOK, NOT_FOUND), progress=lambda *at: seen.append(at))
    assert seen == [(n, 6) for n in range(7)]
    assert [row.id for row in results.rows] == [item.id for item in signs.items]
    assert results.finished
    for row in results.rows:
        assert (row.status, row.answer, row.scores["exact_match"]) == ("refused", None, 0)
        assert row.scores["evidence_recall"] == 0
        assert (row.cost["turns"], row.cost["images"], row.cost["decoded_frames"]) == (2, 10, 10)
        views = [picture.view for picture in Episode.read(row.episode).pictures]
        assert row.cost["image_tokens"] == sum(view.size.pixels for view in views) // 28**2
        assert row.cost["megapixels"] == pytest.approx(sum(view.size.pixels for view in views) / 1e6)
        assert Path(row.episode).is_file()
    header = results.header
    assert header["config"]["budget"]["turns"] == 8
    assert "select_frames" in header["prompt"]
    assert header["questions"] == signs.header()
    assert {"r4agent", "langgraph", "pillow"} <= set(header["versions"])


def test_a_failed_question_is_no_wrong_answer_and_is_tried_again(signs: Questions) -> None:
    calls = Counter[str]()

    def flaky(messages: list[Any]) -> str:
        calls["all"] += 1
        if calls["all"] == 3:
            raise ConnectionError("the server went away")
        return NOT_FOUND

    subject = scripted(flaky)
    results = evaluate(signs, subject)
    failed = [row for row in results.rows if row.failed]
    assert [row.id for row in failed] == [signs.items[2].id]
    assert "the server went away" in str(failed[0].error)
    assert Path(failed[0].episode).is_file()
    assert failed[0].scores == {}
    assert summary(results)["scored"] == 5
    again = evaluate(signs, subject, resume=True)
    assert again.path == results.path
    assert again.finished
    assert calls["all"] == 7
    assert summary(again)["statuses"] == {"refused": 6}


def test_five_failures_in_a_row_stop_the_run_and_keep_what_was_scored(signs: Questions) -> None:
    calls = Counter[str]()

    def dying(messages: list[Any]) -> str:
        calls["all"] += 1
        if calls["all"] > 1:
            raise ConnectionError("dead")
        return NOT_FOUND

    with pytest.raises(RunError, match=r"5 questions failed in a row, the last with: .*dead"):
        evaluate(signs, scripted(dying))
    assert calls["all"] == 6


def test_questions_that_can_not_be_asked_do_not_bar_the_way(signs: Questions, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    broken = [
        item.model_copy(update={"id": f"broken {n}", "media": str(tmp_path / "broken.mp4")})
        for n, item in enumerate(signs.items[:5])
    ]
    both = Questions("both", (*broken, *signs.items), seed=0)
    with pytest.raises(RunError, match="5 questions failed in a row"):
        evaluate(both, scripted(NOT_FOUND))
    with pytest.raises(RunError, match="5 questions failed in a row"):
        evaluate(both, scripted(NOT_FOUND), resume=True)
    (path,) = (tmp_path / "home" / "results").glob("*.jsonl")
    assert {row.id for row in Results.read(path).scored} == {item.id for item in signs.items}


def test_a_file_that_was_cut_off_before_its_header_is_passed_over(signs: Questions) -> None:
    first = evaluate(signs, scripted(NOT_FOUND))
    for name, data in (("29990101-none", b""), ("29990102-torn", first.path.read_bytes()[:50])):
        (first.path.parent / f"{name}-{first.path.stem[25:]}.jsonl").write_bytes(data)
    assert evaluate(signs, scripted(NOT_FOUND), resume=True).path == first.path


def test_resume_tells_two_models_of_one_class_apart(signs: Questions) -> None:
    class Named(ScriptedPolicy):
        model_name: str

    first, other = (
        Subject(policy=Named(replies=[NOT_FOUND], model_name=name)) for name in ("small", "large")
    )
    path = evaluate(signs, first).path
    assert evaluate(signs, other, resume=True).path != path
    assert evaluate(signs, first, resume=True).path == path


def test_a_policy_that_can_not_be_loaded_leaves_no_results(signs: Questions, r4_home: Path) -> None:
    with pytest.raises(MissingError):
        evaluate(signs, Subject(policy="nowhere:at_all"))
    assert list((r4_home / "results").glob("*")) == []


@pytest.mark.parametrize(
    ("span", "message"),
    [
        ({"start": 100, "end": 101}, "100 s, and the video ends at"),
        ({"start": 1, "end": 1, "unit": "page"}, "must be 'seconds'"),
    ],
)
def test_evidence_that_the_media_can_not_have_is_told(
    signs: Questions, span: dict[str, Any], message: str
) -> None:
    item = signs.items[0].model_copy(update={"evidence": (Span(**span),)})
    (row,) = evaluate(Questions("one", (item,), 0), scripted(NOT_FOUND)).rows
    assert row.failed
    assert message in str(row.error)


def test_resume_goes_on_only_with_the_same_questions_config_and_versions(
    signs: Questions, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = evaluate(signs, scripted(NOT_FOUND))
    assert evaluate(signs, scripted(NOT_FOUND), resume=True).path == first.path
    assert evaluate(signs, scripted(NOT_FOUND)).path != first.path
    other = Subject(policy=ScriptedPolicy(replies=[NOT_FOUND]), budget=Budget(turns=3))
    assert evaluate(signs, other, resume=True).path != first.path
    fewer = Questions(signs.name, signs.items[:3], signs.seed)
    assert evaluate(fewer, scripted(NOT_FOUND), resume=True).path != first.path
    monkeypatch.setattr(module, "versions", lambda: {"r4agent": "9"})
    with pytest.raises(RunError, match="begun with other versions"):
        evaluate(signs, scripted(NOT_FOUND), resume=True)


def test_equal_pixels_sees_at_most_what_rumination_cost_and_nearly_all_of_it(signs: Questions) -> None:
    policy = ScriptedPolicy(replies=[LOOK, NOT_FOUND])
    control = evaluate(signs, Subject(policy=policy, control="equal-pixels"))
    folder = control.path.parent
    (baseline,) = [Results.read(p) for p in folder.glob("*.jsonl") if p != control.path]
    assert baseline.header["config"]["control"] is None
    assert control.header["config"]["graph"] == "single_pass"
    costs = {row.id: row.cost["image_tokens"] for row in baseline.rows}
    for row in control.rows:
        assert 0.9 * costs[row.id] <= row.cost["image_tokens"] <= costs[row.id]
        assert row.cost["turns"] == 1
    evaluate(signs, Subject(policy=policy, control="equal-pixels"))
    assert len(list(folder.glob("*.jsonl"))) == 3  # the run of rumination was there
    assert control.header["config"]["baseline"] == baseline.path.name
    renamed = folder / f"2999{baseline.path.name[4:]}"  # as if rumination had been run again
    renamed.write_bytes(baseline.path.read_bytes())
    again = evaluate(signs, Subject(policy=policy, control="equal-pixels"), resume=True)
    assert again.header["config"]["baseline"] == renamed.name


def test_a_question_may_have_a_budget_of_its_own(signs: Questions) -> None:
    dear = signs.items[2].id
    budgets = {dear: Budget(overview_images=6)}
    results = evaluate(signs, scripted(NOT_FOUND), budgets=budgets)
    images = {row.id: row.cost["images"] for row in results.rows}
    assert images == dict.fromkeys(images, 8) | {dear: 6}
    again = evaluate(signs, scripted(NOT_FOUND), budgets=dict(budgets), resume=True)
    assert again.path == results.path
    others = evaluate(signs, scripted(NOT_FOUND), budgets={dear: Budget(overview_images=5)}, resume=True)
    assert others.path != results.path
    assert "budgets" in compare(results, others)["differs"]
    with pytest.raises(UsageError, match="leave out one"):
        evaluate(signs, Subject(policy=ScriptedPolicy(replies=[]), control="equal-pixels"), budgets=budgets)


def test_equal_pixels_adds_frames_where_the_source_has_no_more_pixels(signs: Questions) -> None:
    (row, *_) = evaluate(signs, scripted(LOOK, NOT_FOUND)).rows
    rich = row.model_copy(update={"cost": row.cost | {"image_tokens": 30_000.0}})
    budget = equal_pixels(rich, Budget(), QWEN2_5_VL)
    assert budget.images == budget.overview_images == -(-30_000 // budget.overview_tokens)
    assert budget.overview_tokens <= Budget().picture_tokens
    poor = equal_pixels(row, Budget(), QWEN2_5_VL)
    assert poor.overview_images == 8


def test_equal_pixels_shares_the_tokens_among_the_pages_there_are(tmp_path: Path) -> None:
    for name, size in (("1.png", (64, 64)), ("2.png", (1920, 1080))):  # the first says nothing of the others
        Image.new("RGB", size).save(tmp_path / name)
    item = Item(id="pages", media=str(tmp_path), question="?", answers=("x",))
    again = '<tool_call>{"name": "re_encode", "arguments": {"view": "v2", "detail": "medium"}}</tool_call>'
    pages, policy = Questions("pages", (item,), seed=0), ScriptedPolicy(replies=[again, again, NOT_FOUND])
    control = evaluate(pages, Subject(policy=policy, control="equal-pixels"))
    (baseline,) = [Results.read(p) for p in control.path.parent.glob("*.jsonl") if "rumination" in p.name]
    assert baseline.rows[0].cost["images"] == 4
    (row,) = control.rows
    assert row.cost["images"] == 2
    assert (
        row.cost["image_tokens"] >= 0.45 * baseline.rows[0].cost["image_tokens"]
    )  # half is page 1's to have


def test_arguments_that_can_not_be(signs: Questions) -> None:
    with pytest.raises(UsageError, match="leave single pass out"):
        Subject(single_pass=True, control="no-tool")
    with pytest.raises(UsageError, match="workers 0"):
        evaluate(signs, workers=0)


def test_threads_ask_a_chat_model_at_once(signs: Questions) -> None:
    """Each of three questions waits, in the model, for the two others."""
    together = threading.Barrier(3, timeout=60)

    def waiting(messages: list[Any]) -> str:
        together.wait()
        return NOT_FOUND

    results = evaluate(signs, scripted(waiting), workers=3)
    assert results.header["workers"] == 3
    assert sorted(row.id for row in results.rows) == sorted(item.id for item in signs.items)
    assert [row.status for row in results.rows] == 6 * ["refused"]


def test_a_failure_that_is_no_question_s_ends_the_threads(signs: Questions) -> None:
    asked = Counter[str]()

    def broken(messages: list[Any]) -> str:
        asked["all"] += 1
        raise MissingError("the reader's models are gone")

    with pytest.raises(MissingError, match="models are gone"):
        evaluate(signs, scripted(broken), workers=2)
    assert asked["all"] < 6


@contextmanager
def run_eval(*more: str) -> Iterator["subprocess.Popen[str]"]:
    """`r4 eval` in a session of its own, none of which is left when the block is left."""
    asked = ["textworld", "--level", "0", "--n", "8", "--seed", "3"]
    how = ["--policy", "scripted_for_eval:always", "--json", "--resume", *more]
    with subprocess.Popen(
        [sys.executable, "-m", "r4agent", "eval", *asked, *how],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell's background job ignores Ctrl-C, and what it starts would too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as running:
        try:
            yield running
        finally:
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_kill_9_loses_nothing_and_counts_nothing_twice(policies: Path, r4_home: Path, workers: str) -> None:
    """The main process alone is killed, at random moments; its workers must end by themselves."""
    rng, kills, promised = random.Random(workers), 0, set[str]()
    while kills < 3:
        with run_eval("--workers", workers) as running:
            path = None
            until = time.monotonic() + 4 + 4 * rng.random()
            while time.monotonic() < until and running.poll() is None:
                time.sleep(0.01)
                path = next((r4_home / "results").glob("*.jsonl"), None)
                if path and len(Results.read(path).rows) > len(promised) + rng.randint(0, 2):
                    break
            if running.poll() is not None:
                break
            os.kill(running.pid, signal.SIGKILL)
            running.wait()
            assert workers_end(running.pid)
        kills += 1
        assert path
        rows = {row.id for row in Results.read(path).scored}
        assert promised <= rows
        promised |= rows
    assert kills >= 2
    with run_eval("--workers", workers) as last:
        out, errors = last.communicate(timeout=120)
    assert last.returncode == 0, errors
    assert json.loads(out.splitlines()[-1])["statuses"] == {"refused": 8}
    (path,) = (r4_home / "results").glob("*.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    counts = Counter(line["id"] for line in lines if line["type"] == "row")
    assert len(counts) == 8
    assert set(counts.values()) == {1}


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.0, 1.5, 4.0])
def test_an_interrupt_ends_all_with_one_line(policies: Path, r4_home: Path, after: float) -> None:
    with run_eval("--workers", "2", "--n", "1000") as running:
        while running.poll() is None and not list((r4_home / "results").glob("*.jsonl")):
            time.sleep(0.01)
        time.sleep(after)
        os.killpg(running.pid, signal.SIGINT)
        _, errors = running.communicate(timeout=60)
        assert (running.returncode, errors) == (130, "r4: interrupted\n")
        assert workers_end(running.pid)


def workers_end(session: int) -> bool:
    """Whether every process of the session is gone within a minute."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            os.killpg(session, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_a_policy_that_fails_in_workers_says_why(policies: Path) -> None:
    with run_eval("--workers", "2", "--policy", "scripted_for_eval:broken") as running:
        _, errors = running.communicate(timeout=120)
    assert running.returncode == RunError.exit_code
    assert "the script has 0 replies" in errors
    assert errors.count("\n") == 1
    with run_eval("--workers", "2", "--policy", "nowhere:at_all") as running:
        _, errors = running.communicate(timeout=120)
    assert running.returncode == 4
    assert "nowhere" in errors
    assert errors.count("\n") == 1

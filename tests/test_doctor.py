"""The doctor: each finding, on a checkpoint or an engine that is broken so."""

import json
import math
import sys
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tokenizers")

from r4agent.budget import Budget
from r4agent.command import main
from r4agent.doctor.check import Check
from r4agent.doctor.model import NEEDS, examine_model
from r4agent.engines import Checkpoint, Request, Sample
from r4agent.engines.request import Tokens
from r4agent.errors import RunError
from r4agent.policy.chat import ChatR4
from r4agent.progress import print_check

from .policy.scripted_engine import ScriptedEngine, bare_checkpoint

SMALL = Budget(image_tokens=8192, new_tokens=2048)  # fits into the checkpoint's context
TEXT = {"max_position_embeddings": 32768}
ZOOM = {"name": "zoom", "arguments": {"view": "v1", "box": [1, 2, 30, 40]}}


class Engine(ScriptedEngine):
    """Speaks as a model that is well: calls when it must. change: what is wrong with its samples. context:
    what it takes. most: pictures in a prompt."""

    def __init__(
        self,
        folder: Path,
        *,
        says: str = json.dumps(ZOOM),
        change: Callable[[Request, Sample], Sample] = lambda request, sample: sample,
        context: int = 32768,
        most: int = 48,
        more: list[int] | None = None,
    ) -> None:
        def say(prompt: str, request: Request) -> str:
            return says if request.sampling.json_schema else "roses are red"

        config = json.loads((folder / "config.json").read_text())
        super().__init__(Checkpoint("it", folder, config), say, more=more)  # as it is now: `load` remembers
        self.change, self.context, self.most = change, context, most

    def submit(self, request: Request, on_tokens: Tokens | None = None) -> "Future[Sample]":
        future: Future[Sample] = Future()
        self.requests.append(request)
        if len(request.pictures) > self.most:
            future.set_exception(RunError(f"at most {self.most}: start it with N"))
        else:
            future.set_result(self.change(request, self._sample(request)))
        return future


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint's, to be broken."""
    bare_checkpoint("qwen3_vl", tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def examined(engine: Engine, budget: Budget = SMALL) -> dict[str, Check]:
    found = {check.name: check for check in examine_model(ChatR4(model="it", engine=engine), budget)}
    assert list(found) == list(NEEDS), "every check is told, in its order"
    return found


def bad(found: dict[str, Check]) -> list[str]:
    return [name for name, check in found.items() if check.ok is False]


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_model_that_is_well(folder: Path) -> None:
    found = examined(Engine(folder))
    assert all(check.ok and not check.todo for check in found.values()), found
    assert "qwen3_vl" in found["checkpoint"].found
    assert "boxes in thousandths" in found["checkpoint"].found
    assert "4 to 1,280 of them; a context of 32,768" in found["checkpoint"].found
    assert "144 tokens (512x288) in the overview, 1,269 tokens (1504x864) close up" in found["images"].found
    assert "48 pictures" in found["image limit"].found
    assert found["call"].found.endswith(json.dumps(ZOOM["arguments"]))
    assert "tokens a second" in found["speed"].found


def test_without_a_checkpoint_the_rest_is_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--model", "/no/such", "--engine", "transformers"]) == 4
    lines = capsys.readouterr().out.splitlines()
    assert "no  checkpoint  /no/such: no such folder" in lines[0]
    assert lines[2:] == [
        f"--  {name:<12}skipped, since it needs {needs[0]}" for name, needs in list(NEEDS.items())[1:]
    ]


@pytest.mark.parametrize(
    ("values", "said", "todo"),
    [
        ({"model_type": "llama"}, "is of the family 'llama'", ""),
        ({"vision_config": {}}, "KeyError: 'patch_size'", "copy the checkpoint anew"),
    ],
    ids=["family", "keys"],
)
def test_a_checkpoint_of_another_family_or_without_keys(
    folder: Path, values: dict[str, Any], said: str, todo: str
) -> None:
    change(folder / "config.json", **values)
    moved = folder.rename(folder.with_name("moved"))  # `Checkpoint.load` remembers the other
    first = next(examine_model(ChatR4(model=str(moved), engine="transformers"), SMALL))
    assert (first.ok, said in first.found, first.todo[: len(todo)]) == (False, True, todo), first


@pytest.mark.parametrize(
    ("token", "edit", "said", "todo"),
    [
        ("<|vision_start|>", None, "no <|vision_start|>", ""),
        ("<|im_end|>", None, "no <|im_end|>", ""),
        ("<|im_end|>", {"special": False}, "spells <|im_end|> becomes that token", '"special": true'),
    ],
    ids=["no picture", "no end", "not special"],
)
def test_tokens(folder: Path, token: str, edit: dict[str, Any] | None, said: str, todo: str) -> None:
    path = folder / "tokenizer.json"
    added = json.loads(path.read_text())["added_tokens"]
    others = [one for one in added if one["content"] != token]
    (known,) = (one for one in added if one["content"] == token)
    change(path, added_tokens=others if edit is None else [known | edit, *others])
    found = examined(Engine(folder))
    assert (found["tokens"].ok, said in found["tokens"].found) == (False, True), found["tokens"]
    assert todo in found["tokens"].todo
    assert found["engine"].ok is None, "nothing is run on tokens that are wrong"


@pytest.mark.parametrize(
    ("values", "said", "well"),
    [
        ({"image_token_id": 7}, "the image token is 7 in config.json and 268", False),
        ({"text_config": {"max_position_embeddings": 32768, "vocab_size": 270}}, "has 270 ids, and", False),
        (
            {"text_config": {"max_position_embeddings": 32768, "vocab_size": 300}},
            "18 of the model's 300",
            True,
        ),
    ],
    ids=["image token", "too few", "padding"],
)
def test_config_and_tokenizer_of_two_models(
    folder: Path, values: dict[str, Any], said: str, well: bool
) -> None:
    change(folder / "config.json", **values)
    found = examined(Engine(folder))["tokens"]
    assert (said in found.found, found.ok) == (True, well), found


def stock(name: str) -> str:
    pytest.importorskip("trl")
    return (files("trl") / "chat_templates" / name).read_text()


def templated(folder: Path, template: str, file: str = "chat_template.jinja") -> Check:
    text = template if file.endswith(".jinja") else json.dumps({"chat_template": template})
    (folder / file).write_text(text)
    found = examined(Engine(folder))
    assert found["call"].ok, "a template is not what a run stands on"
    return found["template"]


@pytest.mark.parametrize("file", ["chat_template.jinja", "chat_template.json", "tokenizer_config.json"])
def test_qwens_own_template_is_ours(folder: Path, file: str) -> None:
    found = templated(folder, stock("qwen3_vl.jinja"), file)
    assert (found.ok, found.todo) == (True, "")
    assert found.found == f"{file} writes a picture, tools, a call and its response as r4agent does"


def test_a_template_for_training_is_read(folder: Path) -> None:
    found = templated(folder, "{% generation %}x{% endgeneration %}")
    assert "writes 'x' where r4agent writes '<|im_start|>" in found.found


def test_no_template(folder: Path) -> None:
    found = examined(Engine(folder))["template"]
    assert (found.ok, "has none" in found.found) == (True, True)


def test_a_template_without_tool_calls_is_fine(tmp_path: Path) -> None:
    folder = bare_checkpoint("qwen2_5_vl", tmp_path / "two").folder
    found = templated(folder, stock("qwen2_5_vl.jinja"))
    assert (found.ok, found.todo) == (True, "")
    assert "it writes no tool calls; r4agent does" in found.found


def test_a_template_that_opens_think_is_fine(folder: Path) -> None:
    template = stock("qwen3_vl.jinja")
    last = "{{- '<|im_start|>assistant\\n' }}"
    assert last in template
    found = templated(folder, template.replace(last, "{{- '<|im_start|>assistant\\n<think>\\n' }}"))
    assert (found.ok, found.todo) == (True, "")
    assert found.found.endswith("it opens <think> for the model; r4agent lets the model write it")


def test_a_template_that_writes_calls_otherwise_is_told(folder: Path) -> None:
    found = templated(folder, stock("qwen3_vl.jinja").replace("<tool_response>", "<response>"))
    assert found.ok
    assert "<response>" in found.found
    assert "where r4agent writes" in found.found


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% for m in messages %}[{{ m.role }}]{% endfor %}", "taught another conversation"),
        ("{% for", "can't be rendered"),
        ("{{ raise_exception('no') }}", "can't be rendered: no"),
        ("{{ 1 / 0 }}", "can't be rendered"),
    ],
    ids=["another", "cut", "refusing", "failing"],
)
def test_a_template_of_another_model(folder: Path, template: str, said: str) -> None:
    found = templated(folder, template)
    assert (found.ok, said in found.found) == (False, True), found
    assert "template anew" in found.todo


def test_a_dead_server(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("httpx")
    assert main(["doctor", "--model", str(folder), "--base-url", "http://127.0.0.1:9"]) == 4
    out = " ".join(capsys.readouterr().out.split())
    assert "no engine http://127.0.0.1:9: no server there" in out
    assert "--enable-scale-out" in out
    assert "-- call skipped, since it needs images" in out


def test_an_engine_that_is_not_installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "r4agent.engines.server", None)
    model = ChatR4(model=str(folder), engine="http", base_url="http://127.0.0.1:9")
    found = {check.name: check for check in examine_model(model, SMALL)}["engine"]
    assert (found.ok, found.todo) == (False, 'pip install --upgrade "r4agent[server]"')


def test_an_engine_that_sees_other_pictures(folder: Path) -> None:
    found = examined(Engine(folder, more=[5]))
    assert bad(found) == ["images", "logprobs"]
    assert "--mm-processor-kwargs" in found["images"].found


def test_more_pictures_than_the_engine_takes(folder: Path) -> None:
    found = examined(Engine(folder, most=12))
    assert bad(found) == ["image limit"]
    assert found["image limit"].found == "at most 12: start it with N"
    assert "may show 48" in found["image limit"].todo


def test_a_model_whose_least_picture_is_large(folder: Path) -> None:
    """Qwen3-VL's own takes 64 tokens."""
    sizes = {"shortest_edge": 64 * 32 * 32, "longest_edge": 16384 * 32 * 32}
    change(folder / "preprocessor_config.json", size=sizes)
    engine = Engine(folder)
    assert examined(engine)["image limit"].ok
    grids = [picture.grid for request in engine.requests for picture in request.pictures]
    assert min(rows * columns // 4 for _, rows, columns in grids) == 64


def test_a_budget_that_the_model_has_no_picture_for(folder: Path) -> None:
    sizes = {"shortest_edge": 200 * 32 * 32, "longest_edge": 1280 * 32 * 32}
    change(folder / "preprocessor_config.json", size=sizes)
    found = examined(Engine(folder))
    assert "needs at least 200 for a picture" in found["images"].found


def test_a_context_that_is_too_short(folder: Path) -> None:
    found = examined(Engine(folder, context=9000))
    assert bad(found) == ["context"]
    assert "9,000 tokens; a run of this budget may take 1" in found["context"].found
    assert "lower --budget image_tokens=N" in found["context"].todo
    found = examined(Engine(folder), Budget(image_tokens=30_000, new_tokens=2048))
    _, equals, number = found["context"].todo.partition("--budget image_tokens=")
    assert equals
    lower = Budget(image_tokens=int(number), new_tokens=2048)
    assert examined(Engine(folder), lower)["context"].ok, "what it says to do is enough"
    higher = Budget(image_tokens=int(number) + 1, new_tokens=2048)
    assert not examined(Engine(folder), higher)["context"].ok, "and no more than enough"


@pytest.mark.parametrize(
    ("name", "context", "image_tokens", "todo"),
    [
        ("vllm", 8192, 16384, "give --model-arg max_model_len={need}, or --budget image_tokens="),
        ("http", 8192, 16384, "start the server with --max-model-len {need}, or "),
        ("vllm", 8192, 32768, "give --model-arg max_model_len=32768 and --budget image_tokens="),
        ("vllm", 32768, 32768, "--budget image_tokens="),
        ("transformers", 8192, 16384, "--budget image_tokens="),
    ],
)
def test_what_to_do_for_a_longer_context(
    folder: Path, name: str, context: int, image_tokens: int, todo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from r4agent.doctor import engine as engines

    engine = Engine(folder, context=context)
    engine.name = name
    monkeypatch.setattr(engines, "context_of", lambda engine: engine.context)
    need = image_tokens + 4096
    budget = Budget(image_tokens=image_tokens)
    said = engines.for_more(ChatR4(model="it", engine=engine), budget, need)
    assert said.startswith(todo.format(need=need)) or "lower" in said, said


def logprobs(value: float, when: Callable[[Request], bool] = lambda request: True) -> Any:
    def changed(request: Request, sample: Sample) -> Sample:
        return replace(sample, logprobs=(value,) * len(sample.ids)) if when(request) else sample

    return changed


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (logprobs(math.nan), "without a finite logprob"),
        (logprobs(3.0), "has the logprob 3.0"),
        (logprobs(0.0, lambda request: request.sampling.top_p < 1), "not the model's own"),
    ],
    ids=["nan", "logits", "processed"],
)
def test_logprobs_that_are_none(
    folder: Path, changed: Callable[[Request, Sample], Sample], said: str
) -> None:
    found = examined(Engine(folder, change=changed))["logprobs"]
    assert (found.ok, said in found.found) == (False, True), found


@pytest.mark.parametrize(
    ("says", "said"),
    [
        ('{"name": "zoom", "arguments": {"view": "v1", "box": [1]}}', '"box": [1]'),
        ('{"name": "look", "arguments": {}}', "[{}]"),
        ("\t\n", "cut off there"),
        ('{"name": "zoom"', '\'["{\\\\"name'),
    ],
    ids=["wrong", "another", "cut", "broken"],
)
def test_a_call_that_is_none(folder: Path, says: str, said: str) -> None:
    def cut(request: Request, sample: Sample) -> Sample:
        return replace(sample, ids=sample.ids[:-1], logprobs=sample.logprobs[:-1], finish="length")

    kept = Engine(folder, says=says)
    found = examined(Engine(folder, says=says, change=cut) if "cut" in said else kept)
    assert bad(found) == ["call"]
    assert said in found["call"].found
    assert found["call"].todo
    assert found["speed"].ok is None


def test_an_engine_that_cannot_be_made_to_call(folder: Path) -> None:
    engine = Engine(folder)
    engine.name = "transformers"
    found = examined(engine)
    assert not bad(found)
    assert "asks freely, and so asked it writes no valid call ('roses are red')" in found["call"].found


def test_findings_fit_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    path = "/a/" + "long/" * 20
    print_check(Check("checkpoint", False, f"{'word ' * 30}{path} \x1b[2J", "do " * 18 + 'pip install "a b"'))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("no  checkpoint  word")
    assert all(len(line) <= 80 or path in line for line in lines)
    assert any(path in line for line in lines), "a path is never cut"
    assert any('pip install "a b"' in line for line in lines), "nor is a command"
    assert "\x1b" not in "".join(lines)


def test_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ["--engine", "vllm"],
        ["--budget", "images=4"],
        ["--model", "x", "--budget", "cats=1"],
        ["--model", "x", "--model-arg", "temperature=-1"],
    ):
        assert main(["doctor", *arguments]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_engines_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor"])
    out = " ".join(capsys.readouterr().out.split())
    assert "ok engines" in out
    assert "httpx" in out.partition("ok engines")[2]


@pytest.mark.slow
def test_a_real_model(tiny: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    """Of random weights, with transformers: all is well but the length of its context."""
    asked = ["doctor", "--model", str(tiny("qwen3_vl")), "--engine", "transformers"]
    assert main([*asked, "--budget", "image_tokens=16384"]) == 0
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if line.startswith("no")] == []
    assert main(asked) == 4
    out = capsys.readouterr().out
    assert [line[4:11] for line in out.splitlines() if line.startswith("no")] == ["context"]


@pytest.mark.slow
@pytest.mark.xdist_group("served")
def test_a_real_server(
    tiny: Callable[[str], Path], served: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["doctor", "--model", str(tiny("qwen3_vl")), "--base-url", served("qwen3_vl")]
    main([*asked, "--budget", "image_tokens=8192", "--budget", "new_tokens=1024"])
    out = " ".join(capsys.readouterr().out.split())
    for said in ("ok engine http", "serves tiny at /inference/v1/generate", "ok image limit", "ok logprobs"):
        assert said in out, out

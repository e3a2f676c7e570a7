"""The engine over HTTP against a server of our own that says what vLLM says, and all its ways to say no.
`test_server_real.py` asks a real one."""

import base64
import contextlib
import io
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

pytest.importorskip("tokenizers")

from r4agent.engines import Checkpoint, Request, Sample, Sampling, Shown
from r4agent.engines.server import ServerEngine
from r4agent.engines.tiny import make_tokenizer
from r4agent.engines.wire import Reply, message
from r4agent.errors import R4Error, RunError, UsageError

SAID = ((40, -1.5), (41, -0.25), (42, -3.0))
"""What the fake model always says: ids and their logprobs."""

Fault = Callable[["Handler"], None]
"""Answers a request in place of the fake's own answer."""


class FakeServer(ThreadingHTTPServer):
    """Speaks like `vllm serve --enable-scale-out`. faults: what happens to the next requests."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, checkpoint: Checkpoint, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.checkpoint = checkpoint
        self.cards: list[dict[str, Any]] = [{"id": "tiny", "root": "/models/tiny", "max_model_len": 2048}]
        self.probe_logprob = -4.0
        self.pictures: dict[str, bytes] = {}
        self.asked: list[dict[str, Any]] = []
        self.headers: list[Any] = []
        self.open: list[socket.socket] = []
        self.faults: deque[Fault] = deque()
        self.left = threading.Event()  # a client went away in the middle
        self.busy = threading.Semaphore(0)  # one for each request that began to be answered
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def stop(self) -> None:
        self.shutdown()
        self.server_close()

    def kill(self) -> None:
        """Stop, in the middle of all answers."""
        self.stop()
        for connection in self.open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: Any, address: Any) -> None:
        self.open.append(request)
        super().process_request(request, address)

    def handle_error(self, request: Any, address: Any) -> None:
        pass  # clients that leave are part of the tests


class Handler(BaseHTTPRequestHandler):
    server: FakeServer

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.server.headers.append(self.headers)
        self.answer(200, {"data": self.server.cards})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        if self.path == "/tokenize":
            tokenizer = make_tokenizer()
            return self.answer(200, {"tokens": tokenizer.encode(body["prompt"]).ids})
        if "allowed_token_ids" in body["sampling_params"]:  # the greeting's question
            entry = {"token_id": 1, "logprob": server.probe_logprob}
            return self.answer(200, {"choices": [{"logprobs": {"content": [entry]}}]})
        server.asked.append(body)
        if server.faults:
            return server.faults.popleft()(self)
        return self.generate(body)

    def generate(self, body: dict[str, Any]) -> None:
        for number, part in enumerate(body.get("content_parts", ())):
            if part["url"]:
                self.server.pictures[part["uuid"]] = base64.b64decode(part["url"].split(",")[1])
            elif part["uuid"] not in self.server.pictures:
                said = f"Cache miss for image at index {number} but data is not provided."
                self.refuse(400, said)
                return
        self.begin()
        first = {"prompt_token_ids": body["token_ids"]}
        self.event(first | tokens(SAID[:1]))
        self.event(tokens(SAID[1:], "stop"))
        self.event({"choices": [], "usage": {"prompt_tokens_details": {"cached_tokens": 7}}})
        self.wfile.write(b"data: [DONE]\n\n")

    def begin(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.end_headers()
        self.server.busy.release()

    def event(self, value: dict[str, Any]) -> None:
        self.wfile.write(f"data: {json.dumps(value)}\n\n".encode())
        self.wfile.flush()

    def refuse(self, status: int, said: str, **headers: str) -> None:
        self.answer(
            status, {"error": {"message": said, "type": "x", "param": None, "code": status}}, **headers
        )

    def answer(self, status: int, value: Any, **headers: str) -> None:
        content = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def tokens(said: tuple[tuple[int, float], ...], finish: str | None = None) -> dict[str, Any]:
    entries = [{"token_id": ident, "logprob": logprob} for ident, logprob in said]
    ids = [ident for ident, _ in said]
    return {"choices": [{"token_ids": ids, "finish_reason": finish, "logprobs": {"content": entries}}]}


def says(status: int, said: str, **headers: str) -> Fault:
    return lambda handler: handler.refuse(status, said, **headers)


def hangs_up(handler: Handler) -> None:
    """Before any answer, as a process that is killed."""
    handler.connection.close()


def cut(handler: Handler) -> None:
    """In the middle of an answer."""
    handler.begin()
    handler.event({"prompt_token_ids": [1]} | tokens(SAID[:1]))


def streams(*events: dict[str, Any]) -> Fault:
    def fault(handler: Handler) -> None:
        handler.begin()
        for event in events:
            handler.event(event)

    return fault


def talks_until_left(handler: Handler) -> None:
    handler.begin()
    try:
        while True:
            handler.event({"prompt_token_ids": [1]} | tokens(SAID[:1]))
            time.sleep(0.01)
    except OSError:
        handler.server.left.set()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp("checkpoint")
    make_tokenizer().save(str(folder / "tokenizer.json"))
    pad = make_tokenizer().token_to_id("<|image_pad|>")
    config = {"model_type": "qwen3_vl", "image_token_id": pad, "vision_config": {"patch_size": 16}}
    (folder / "config.json").write_text(json.dumps(config))
    return Checkpoint.load(folder)


@pytest.fixture
def server(checkpoint: Checkpoint) -> Iterator[FakeServer]:
    server = FakeServer(checkpoint)
    yield server
    server.stop()


Make = Callable[..., ServerEngine]


@pytest.fixture
def make(checkpoint: Checkpoint, server: FakeServer) -> Iterator[Make]:
    """An engine for the server, with the arguments given."""
    made: list[ServerEngine] = []

    def engine(url: str | None = None, **arguments: Any) -> ServerEngine:
        made.append(ServerEngine(checkpoint, url or server.url, **{"retry_for": 5.0, **arguments}))
        return made[-1]

    yield engine
    for one in made:
        one.close()


@pytest.fixture
def engine(make: Make) -> ServerEngine:
    return make()


def colour(ref: str) -> Image.Image:
    return Image.new("RGB", (64, 32), ref.removeprefix("img:"))


def request(checkpoint: Checkpoint, *colours: str, load: Any = colour, **sampling: Any) -> Request:
    ids = (5, 6, *[checkpoint.image_token] * len(colours))
    shown = tuple(Shown(f"img:{name}", (1, 2, 4)) for name in colours)
    return Request(ids, shown, load, Sampling(**sampling))


def ask(engine: ServerEngine, *colours: str, **sampling: Any) -> Sample:
    return engine.submit(request(engine.checkpoint, *colours, **sampling)).result(20)


def failure(engine: ServerEngine, *colours: str) -> str:
    """What a request fails with: one line that names the server."""
    with pytest.raises(R4Error) as caught:
        ask(engine, *colours)
    said = str(caught.value)
    assert engine.url in said
    assert "\n" not in said
    return said


# What is asked, and what comes back


def test_a_sample_is_what_the_server_sampled(engine: ServerEngine) -> None:
    sample = ask(engine)
    assert sample == Sample((40, 41, 42), (-1.5, -0.25, -3.0), "stop", (5, 6), cached=7)


def test_what_is_asked_of_the_sampler_reaches_it(engine: ServerEngine, server: FakeServer) -> None:
    schema = {"type": "object"}
    ask(engine, max_tokens=9, temperature=0.5, top_p=0.9, seed=3, stop=("x",), json_schema=schema)
    asked = server.asked[0]["sampling_params"]
    said = {key: asked[key] for key in ("max_tokens", "temperature", "top_p", "seed", "stop", "logprobs")}
    assert said == {
        "max_tokens": 9, "temperature": 0.5, "top_p": 0.9, "seed": 3, "stop": ["x"], "logprobs": 0
    }  # fmt: skip
    assert asked["structured_outputs"] == {"json": schema}
    assert asked["logit_bias"] == {str(ident): -100.0 for ident in engine.checkpoint.banned}


def test_tokens_are_told_as_they_come_and_all_each_time(engine: ServerEngine, server: FakeServer) -> None:
    told: list[tuple[int, ...]] = []
    engine.submit(request(engine.checkpoint), told.append).result(20)
    assert told == [(40,), (40, 41, 42)]
    assert server.asked[0]["sampling_params"]["stream_interval"] == 1


def test_nobody_listens_and_the_tokens_come_together(engine: ServerEngine, server: FakeServer) -> None:
    ask(engine, max_tokens=77)
    assert server.asked[0]["sampling_params"]["stream_interval"] == 77


def test_hundreds_at_once_from_many_threads(engine: ServerEngine) -> None:
    with ThreadPoolExecutor(16) as pool:
        samples = list(pool.map(lambda _: ask(engine), range(300)))
    assert {sample.ids for sample in samples} == {(40, 41, 42)}


@given(st.lists(st.integers(1, 4), min_size=1, max_size=8))
def test_a_reply_is_the_same_however_it_is_cut(cuts: list[int]) -> None:
    said = tuple((number, -float(number) - 1) for number in range(sum(cuts)))
    reply, at = Reply(), 0
    for length in cuts:
        end = "length" if at + length == len(said) else None
        event = tokens(said[at : at + length], end) | ({"prompt_token_ids": [9]} if at == 0 else {})
        assert reply.take(f"data: {json.dumps(event)}")
        at += length
    sample = reply.sample()
    assert list(zip(sample.ids, sample.logprobs, strict=True)) == list(said)
    assert (sample.finish, sample.prompt) == ("length", (9,))


# Pictures


def sent(server: FakeServer) -> list[list[bool]]:
    """For each request and each of its pictures, whether its pixels were there."""
    return [[part["url"] is not None for part in asked["content_parts"]] for asked in server.asked]


def test_a_picture_is_sent_once_pixel_for_pixel(engine: ServerEngine, server: FakeServer) -> None:
    noise = Image.effect_noise((64, 32), 90).convert("RGB")
    made = request(engine.checkpoint, "red", load=lambda _: noise)
    engine.submit(made).result(20)
    engine.submit(made).result(20)
    ask(engine, "red", "blue")
    assert sent(server) == [[True], [False], [False, True]]
    with Image.open(io.BytesIO(server.pictures["img:red"])) as there:
        assert there.tobytes() == noise.tobytes()


def test_two_that_want_one_picture_at_once_send_it_once(engine: ServerEngine, server: FakeServer) -> None:
    loads: list[str] = []

    def slow(ref: str) -> Image.Image:
        loads.append(ref)
        time.sleep(0.1)
        return colour(ref)

    made = request(engine.checkpoint, "red", "blue", load=slow)
    other = request(engine.checkpoint, "blue", "green", load=slow)
    for future in [engine.submit(one) for one in (made, other, made, other)]:
        future.result(20)
    assert sorted(loads) == ["img:blue", "img:green", "img:red"]


def test_a_picture_twice_in_a_prompt_has_its_pixels_twice(engine: ServerEngine, server: FakeServer) -> None:
    ask(engine, "red", "red")  # vLLM looks up all pictures before it keeps any
    assert sent(server) == [[True, True]]


def test_who_waits_for_a_picture_waits_no_longer_than_it_takes(
    engine: ServerEngine, server: FakeServer
) -> None:
    engine.served()
    server.pictures["img:red"] = b""
    server.faults.append(talks_until_left)
    first = engine.submit(request(engine.checkpoint, "red"))
    assert server.busy.acquire(timeout=10)
    assert ask(engine, "red").ids == (40, 41, 42)
    assert first.cancel()


def test_who_waits_for_a_picture_sends_it_when_the_other_fails(
    engine: ServerEngine, server: FakeServer
) -> None:
    engine.served()
    server.faults.append(says(400, "no"))
    futures = [engine.submit(request(engine.checkpoint, "red")) for _ in range(4)]
    assert sum(future.exception(20) is None for future in futures) == 3
    assert sum(pixels for (pixels,) in sent(server)) == 2


def test_a_forgotten_picture_is_sent_again_once(engine: ServerEngine, server: FakeServer) -> None:
    ask(engine, "red", "blue")
    server.pictures.clear()
    ask(engine, "red", "blue")
    ask(engine, "red", "blue")
    assert sent(server) == [[True, True], [False, False], [True, True], [False, False]]


def test_a_server_that_keeps_no_picture_is_an_error(engine: ServerEngine, server: FakeServer) -> None:
    engine.served()
    server.faults += [says(400, "Cache miss for image at index 0 but data is not provided.")] * 2
    assert "did not take the pictures" in failure(engine, "red")


def test_a_picture_that_cannot_be_loaded_is_that_error(engine: ServerEngine) -> None:
    def gone(ref: str) -> Image.Image:
        raise RunError(f"{ref} is not in the store")

    for _ in range(2):  # and nobody waits for it
        with pytest.raises(RunError, match="not in the store"):
            engine.submit(request(engine.checkpoint, "red", load=gone)).result(20)


def test_a_callers_failure_is_an_error_of_ours(engine: ServerEngine) -> None:
    def fails(_: Any) -> Any:
        raise ZeroDivisionError("mine")

    with pytest.raises(RunError, match="ZeroDivisionError: mine"):
        engine.submit(request(engine.checkpoint, "red", load=fails)).result(20)
    with pytest.raises(RunError, match="ZeroDivisionError: mine"):
        engine.submit(request(engine.checkpoint), fails).result(20)
    ask(engine, "red")


# Failures that pass


@pytest.mark.parametrize(
    "fault",
    [
        says(429, "slow down"),
        says(500, "Internal server error"),
        says(503, "busy"),
        hangs_up,
        cut,
        streams({"error": {"message": "Internal server error", "code": 500}}),
        streams({"prompt_token_ids": [1]} | tokens((), "abort")),
    ],
)
def test_a_request_outlives_what_passes(engine: ServerEngine, server: FakeServer, fault: Fault) -> None:
    engine.served()
    server.faults += [fault, fault]
    assert ask(engine).ids == (40, 41, 42)
    assert len(server.asked) == 3


@pytest.mark.parametrize("after", ["4", "a date", "soon"])
def test_a_server_that_asks_for_a_pause_gets_it(engine: ServerEngine, server: FakeServer, after: str) -> None:
    engine.served()
    if after == "a date":
        after = formatdate(time.time() + 5, usegmt=True)  # whole seconds: four at least
    server.faults.append(says(429, "slow down", Retry_After=after))
    began = time.monotonic()
    ask(engine)
    assert (time.monotonic() - began > 3.9) == (after != "soon")


def test_a_pause_beyond_our_time_is_not_waited_for(engine: ServerEngine, server: FakeServer) -> None:
    engine.served()
    server.faults.append(says(429, "slow down", Retry_After="3600"))
    began = time.monotonic()
    assert "slow down" in failure(engine)
    assert time.monotonic() - began < 20


def test_failures_that_stay_end_after_retry_for(make: Make, server: FakeServer) -> None:
    engine = make(retry_for=1.0)
    engine.served()
    server.faults += [says(503, "busy")] * 100
    began = time.monotonic()
    said = failure(engine)
    assert time.monotonic() - began < 20
    assert "503: busy" in said
    assert "retry_for" in said
    assert 3 <= len(server.asked) < 20


def test_a_server_killed_and_begun_again(checkpoint: Checkpoint, server: FakeServer, make: Make) -> None:
    engine = make(retry_for=20.0)
    ask(engine, "red")
    server.faults.append(talks_until_left)
    before = engine.submit(request(checkpoint, "red"))
    server.busy.acquire()
    server.busy.acquire()
    port = server.server_port
    server.kill()
    during = engine.submit(request(checkpoint, "red", "blue"))
    time.sleep(0.5)
    later = FakeServer(checkpoint, port)
    assert {future.result(20).ids for future in (before, during)} == {(40, 41, 42)}
    assert set(later.pictures) == {"img:red", "img:blue"}
    later.stop()


# Failures that stay


def test_no_server_is_told_at_once(make: Make, server: FakeServer, checkpoint: Checkpoint) -> None:
    server.stop()
    engine = make(retry_for=60.0)
    began = time.monotonic()
    said = failure(engine)
    assert time.monotonic() - began < 20
    assert f"vllm serve {checkpoint.name} --enable-scale-out" in said
    with pytest.raises(RunError, match="base_url"):
        engine.served()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (says(401, "Unauthorized"), "VLLM_API_KEY"),
        (lambda handler: handler.answer(401, {"error": "Unauthorized"}), "VLLM_API_KEY"),
        (says(403, "no"), "api_key"),
        (says(403, "Scale-out endpoints are disabled. Restart …"), "--enable-scale-out"),
        (lambda handler: handler.answer(404, {"detail": "Not Found"}), "--enable-scale-out"),
        (says(404, "The model `a` does not exist. Valid aliases: b."), "Valid aliases: b."),
        (says(400, "At most 4 image(s) may be provided in one prompt."), "the 4 that it takes"),
        (says(400, "At most 4 image(s) may be provided in one prompt."), "--limit-mm-per-prompt"),
        (
            streams(
                {
                    "error": {
                        "message": "The decoder prompt (length 3000) is longer than the maximum model "
                        "length of 2048. Make sure …",
                        "code": 400,
                    }
                }
            ),
            "a prompt of 3000 tokens, and it takes 2047: start it with a larger --max-model-len",
        ),
        (says(400, "temperature must be\nnon-negative"), "temperature must be non-negative"),
        (says(501, "not here"), "not here"),
        (lambda handler: handler.answer(302, "", Location="http://elsewhere"), "302"),
        (lambda handler: handler.answer(200, "<html>welcome"), "is it a `vllm serve`"),
        (streams({"choices": 5}), "is it a `vllm serve`"),
        (streams({"choices": [{"text": "hello"}]}), "is it a `vllm serve`"),
        (streams({"error": "what"}), "is it a `vllm serve`"),
        (streams(tokens(SAID, "stop")), "prompt_token_ids"),
        (streams({"prompt_token_ids": [1]} | tokens(((4, -9999.0),), "stop")), "NaN"),
    ],
)
def test_a_refusal_says_what_to_do(
    engine: ServerEngine, server: FakeServer, fault: Fault, words: str
) -> None:
    engine.served()
    server.faults.append(fault)
    assert words in failure(engine, "red")
    assert len(server.asked) == 1  # not asked again
    assert ask(engine, "red").ids == (40, 41, 42)  # and no harm to others


@pytest.mark.parametrize("line", ["data: {", "data: []", "data: 5", "data: null", 'data: {"choices": [5]}'])
def test_lines_that_vllm_does_not_write(line: str) -> None:
    with pytest.raises(RunError, match="is it a `vllm serve`"):
        Reply().take(line)


@given(st.text() | st.recursive(st.none() | st.text() | st.integers(), lambda v: st.dictionaries(
    st.sampled_from(["error", "detail", "message"]), v)).map(json.dumps))  # fmt: skip
def test_any_refusal_has_one_line(text: str) -> None:
    assert "\n" not in message(text)
    assert len(message(text)) <= 300


def test_a_server_that_hangs(make: Make, server: FakeServer) -> None:
    engine = make(timeout=0.5)
    engine.served()
    server.faults.append(lambda handler: time.sleep(3))
    assert "no whole reply in 0.5 s" in failure(engine)


def test_a_reply_that_never_ends(make: Make, server: FakeServer) -> None:
    engine = make(timeout=0.5)
    engine.served()
    server.faults.append(talks_until_left)
    assert "no whole reply in 0.5 s" in failure(engine)
    assert server.left.wait(5)


def test_what_was_shown_is_not_begun_anew(engine: ServerEngine, server: FakeServer) -> None:
    engine.served()
    server.faults.append(cut)
    told: list[tuple[int, ...]] = []
    with pytest.raises(RunError, match="lost after 1 tokens"):
        engine.submit(request(engine.checkpoint), told.append).result(20)
    assert told == [(40,)]


# Leaving


def test_cancelling_ends_the_request_at_the_server(engine: ServerEngine, server: FakeServer) -> None:
    engine.served()
    server.faults.append(talks_until_left)
    future = engine.submit(request(engine.checkpoint))
    assert server.busy.acquire(timeout=10)
    assert future.cancel()
    assert server.left.wait(5)
    assert ask(engine).ids == (40, 41, 42)


def test_closing_ends_all_and_nothing_comes_after(engine: ServerEngine, server: FakeServer) -> None:
    engine.served()
    server.faults.append(talks_until_left)
    future = engine.submit(request(engine.checkpoint))
    assert server.busy.acquire(timeout=10)
    engine.close()
    engine.close()
    with pytest.raises(RunError, match="closed"):
        future.result(5)
    assert server.left.wait(5)
    with pytest.raises(RunError, match="closed"):
        engine.submit(request(engine.checkpoint))
    with pytest.raises(RunError, match="closed"):
        engine.served()


def test_closing_ends_what_waits_to_try_again(engine: ServerEngine, server: FakeServer) -> None:
    engine.served()
    server.faults.append(says(429, "slow down", Retry_After="4"))
    future = engine.submit(request(engine.checkpoint))
    while not server.asked:
        time.sleep(0.01)
    time.sleep(0.2)
    engine.close()
    with pytest.raises(RunError, match="closed"):
        future.result(5)


# The greeting


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/"])
def test_an_address_with_and_without_v1(make: Make, server: FakeServer, ending: str) -> None:
    assert make(server.url + ending).served().context == 2048


@pytest.mark.parametrize("url", ["localhost:8000", "", "file:///tmp"])
def test_an_address_that_is_none(checkpoint: Checkpoint, url: str) -> None:
    with pytest.raises(UsageError, match="http://localhost:8000"):
        ServerEngine(checkpoint, url)


def card(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "root": f"/models/{name}", "parent": None, "max_model_len": 10, **more}


def test_the_model_that_is_asked_for(make: Make, server: FakeServer, checkpoint: Checkpoint) -> None:
    server.cards = [card("a")]
    assert make().served().model == "a"
    server.cards = [card("a"), card("tuned", parent="a")]
    assert make().served().model == "a"
    assert make(model="tuned").served().model == "tuned"
    server.cards = [card("a"), card("b", root=checkpoint.name)]
    assert make().served().model == "b"
    server.cards = [card("c", root=checkpoint.name), card("b", root=checkpoint.name)]
    assert make().served().model == "c"
    server.cards = [card("a"), card(checkpoint.name)]
    assert make().served().model == checkpoint.name
    server.cards = [card("a", root="/models/same"), card("b", root="/models/same")]
    assert make().served().model in ("a", "b")


def test_a_model_that_is_not_served(make: Make, server: FakeServer) -> None:
    server.cards = [card("a"), card("b")]
    assert "one of those it serves: a, b" in failure(make(model="c"))
    assert "one of those it serves: a, b" in failure(make())
    server.cards = []
    assert "none" in failure(make())


def test_a_server_of_another_model(make: Make, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handler, "do_POST", lambda self: self.answer(200, {"tokens": [1, 2]}))
    assert "other tokens" in failure(make())


def test_logprobs_after_processing_are_refused(make: Make, server: FakeServer) -> None:
    server.probe_logprob = 0.0
    assert "--logprobs-mode raw_logprobs" in failure(make())


def test_the_key_is_sent(make: Make, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "from-outside")
    make().served()
    make(api_key="given").served()
    said = [headers["Authorization"] for headers in server.headers]
    assert said == ["Bearer from-outside", "Bearer given"]


def test_all_wait_for_one_greeting(engine: ServerEngine, server: FakeServer) -> None:
    for future in [engine.submit(request(engine.checkpoint)) for _ in range(50)]:
        future.result(20)
    assert len(server.headers) == 1


def test_something_that_is_no_vllm(make: Make, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for answer in ("<html>", {"data": 5}, {"models": []}, [], {"data": [{"name": "x"}]}):
        monkeypatch.setattr(Handler, "do_GET", lambda self, answer=answer: self.answer(200, answer))
        assert "is it a `vllm serve`" in failure(make())


def test_a_checkpoint_folder_is_enough(checkpoint: Checkpoint) -> None:
    assert Path(checkpoint.name).is_dir()

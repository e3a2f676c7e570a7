"""A `vllm serve` elsewhere: tokens and pictures over HTTP, tokens and logprobs back.

    vllm serve Qwen/Qwen3-VL-8B-Instruct --enable-scale-out
    engine = ServerEngine(Checkpoint.load("Qwen/Qwen3-VL-8B-Instruct"), "http://localhost:8000")

Promises: what is sampled is what the model samples in this process: ids in, ids out, one image token for a
picture, image tokens never sampled, logprobs the model's own. A picture's pixels are sent once, then its id;
again when the server has forgotten it. Requests outlive a server that is overloaded or restarted, for
`retry_for` seconds. Cancelling a future ends its request at the server.
Does not: start or stop servers, or give a seed's reply twice: a server's batches differ from run to run.
"""

import asyncio
import logging
import os
import random
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from itertools import cycle
from typing import Any, TypeVar

import httpx

from r4agent.engines.checkpoint import Checkpoint
from r4agent.engines.request import Request, Sample, Tokens
from r4agent.engines.wire import GENERATE, Forgotten, Lost, Reply, body, expected, message, refused
from r4agent.errors import R4Error, RunError, UsageError, one_line

CONNECTIONS = 512  # requests at once; further ones wait here
POOLS = 16  # of connections: httpx looks at all of a pool for each request
IDLE = 3.0  # seconds after which a connection isn't used again: vLLM closes it after five
GREETING = 30.0  # seconds for each question of the greeting
SLOWEST = 10.0  # the longest pause between two tries
REMEMBERED = 100_000  # pictures that we note as sent

logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Served:
    """What a server serves. model: the name to ask for. models: all it has. context: tokens of a prompt and
    its reply, where it says."""

    model: str
    models: tuple[str, ...]
    context: int | None


class ServerEngine:
    """vLLM's `/inference/v1/generate`, from one thread with an event loop of its own.

    model: the name it is served under; by default the one served model, or the one named as the checkpoint.
    api_key: by default VLLM_API_KEY. timeout: seconds for one reply. retry_for: how long a request goes on
    trying from its first failure, while the server is overloaded, failing or away; a server that has never
    answered is not waited for.
    """

    name = "http"

    def __init__(
        self,
        checkpoint: Checkpoint,
        base_url: str,
        *,
        api_key: str | None = None,
        model: str | None = None,
        timeout: float = 600.0,
        retry_for: float = 120.0,
    ) -> None:
        self.checkpoint = checkpoint
        self.url = _root(base_url)
        self.timeout, self.retry_for = timeout, retry_for
        self._model = model
        self._key = api_key or os.environ.get("VLLM_API_KEY")
        self._pictures = _Pictures()
        self._greeting: asyncio.Task[Served] | None = None
        self._answered = False  # whether the server ever did
        self.closed = False
        self._gate = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._clients = self._pools()
        self._turn = cycle(self._clients)
        self._thread = threading.Thread(target=self._loop.run_forever, name="vllm-http", daemon=True)
        self._thread.start()

    def submit(self, request: Request, on_tokens: Tokens | None = None) -> "Future[Sample]":
        """Begin a request. See `Engine`."""
        return self._begin(lambda whole: self._ask(request, on_tokens, whole))

    def served(self) -> Served:
        """What the server serves; raises an R4Error that says what is wrong with it."""
        return self._begin(lambda _: self._met()).result()

    def close(self) -> None:
        """End the requests under way and the connections."""
        with self._gate:
            if self.closed:
                return
            self.closed = True
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(timeout=30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _shut(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for client in self._clients:
            await client.aclose()

    def _pools(self) -> list[httpx.AsyncClient]:
        trusted = httpx.create_ssl_context()  # reading it takes longer than all the rest
        limits = httpx.Limits(max_connections=CONNECTIONS // POOLS, keepalive_expiry=IDLE)
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        timeout = httpx.Timeout(None, connect=10.0)
        return [
            httpx.AsyncClient(
                base_url=self.url, headers=headers, timeout=timeout, limits=limits, verify=trusted
            )
            for _ in range(POOLS)
        ]

    # A request, through all its tries

    def _begin(self, ask: Callable[[bool], Awaitable[T]]) -> "Future[T]":
        with self._gate:  # what begins before `close` is ended by it; nothing is given to a loop that stops
            if self.closed:
                raise RunError("the engine was closed; make a new one")
            return asyncio.run_coroutine_threadsafe(self._persist(ask), self._loop)

    async def _persist(self, ask: Callable[[bool], Awaitable[T]]) -> T:
        """Try until there is a reply, a refusal, or no time left. `ask` is told whether to send all pixels,
        whatever the server may have."""
        tries, pause, until, whole = 0, 0.0, float("inf"), False
        while True:
            try:
                await asyncio.sleep(pause)
                async with asyncio.timeout(self.timeout):
                    return await ask(whole)
            except asyncio.CancelledError:
                if self.closed:  # who waits was not cancelled
                    raise RunError("the engine was closed") from None
                raise
            except TimeoutError as error:
                raise RunError(
                    f"{self.url}: no whole reply in {self.timeout:g} s; it hangs, or has too much to do: "
                    "look at its log, or give a larger timeout"
                ) from error
            except Forgotten as error:
                if whole:
                    raise RunError(f"{self.url}: it did not take the pictures ({error})") from error
                whole, pause = True, 0.0
            except R4Error:
                raise
            except Lost as lost:
                until = min(until, time.monotonic() + self.retry_for)
                pause, tries = self._pause(lost, tries, until), tries + 1
            except Exception as error:  # the caller's own: load or on_tokens
                raise RunError(f"a request failed here: {type(error).__name__}: {one_line(error)}") from error

    def _pause(self, lost: Lost, tries: int, until: float) -> float:
        """Seconds before the next try. Raises RunError when there is to be none."""
        start = f"`vllm serve {self.checkpoint.name} --enable-scale-out`"
        if not self._answered:
            raise RunError(
                f"{self.url}: no server there ({lost}): start one with {start}, or correct base_url"
            )
        pause = max(lost.after, min(SLOWEST, 0.25 * 2.0**tries) * random.uniform(0.5, 1.0))
        if time.monotonic() + pause > until:
            raise RunError(
                f"{self.url}: no reply in {tries + 1} tries over {self.retry_for:g} s ({lost}): look at its "
                f"log, start it again with {start}, or give a larger retry_for"
            )
        return pause

    async def _ask(self, request: Request, on_tokens: Tokens | None, whole: bool) -> Sample:
        """One try."""
        served = await self._met()
        refs = {shown.ref for shown in request.pictures}
        fresh = refs if whole else await self._pictures.claim(refs)
        reply = Reply()
        try:
            each = on_tokens is not None
            content = await asyncio.to_thread(
                body, request, served.model, fresh, self.checkpoint.banned, each
            )
            async with self._post(content) as lines:
                self._pictures.arrived(fresh)
                async for line in lines:
                    if reply.take(line) and on_tokens:
                        on_tokens(tuple(reply.ids))
                return reply.sample()
        except Lost as lost:
            if reply.ids and on_tokens:  # what was shown can't be taken back
                raise RunError(
                    f"{self.url}: lost after {len(reply.ids)} tokens ({lost}); ask again"
                ) from lost
            raise
        finally:
            self._pictures.release(fresh)

    @asynccontextmanager
    async def _post(self, content: bytes) -> AsyncIterator[AsyncIterator[str]]:
        """The lines of the answer, once the server has taken the request. Leaving early ends it there."""
        kind = {"Content-Type": "application/json"}
        with self._named():
            try:
                async with next(self._turn).stream(
                    "POST", GENERATE, content=content, headers=kind
                ) as response:
                    if response.status_code != 200:
                        await response.aread()
                        raise _refusal(response)
                    if not response.headers.get("content-type", "").startswith("text/event-stream"):
                        raise RunError("it answered without a stream of events: is it a `vllm serve`?")
                    yield response.aiter_lines()
            except httpx.TransportError as error:
                lost = Lost(_transport(error))
                if self._greeting is not None:  # of many requests the first one says it
                    logger.warning("%s: lost (%s); trying for %g s", self.url, lost, self.retry_for)
                self._greeting = None  # whoever comes back there has to be greeted first
                raise lost from error

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Errors in here name the server."""
        try:
            yield
        except R4Error as error:
            raise type(error)(f"{self.url}: {error}") from error

    # The greeting: who is there

    async def _met(self) -> Served:
        """What the greeting found; all requests that come meanwhile wait for one greeting."""
        if self._greeting is None or (self._greeting.done() and self._greeting.exception()):
            self._greeting = asyncio.create_task(self._greet())
        with self._named():
            return await asyncio.shield(self._greeting)

    async def _greet(self) -> Served:
        listing = await self._json("GET", "/v1/models")
        with expected():
            models: dict[str, dict[str, Any]] = {card["id"]: card for card in listing["data"]}
            name = self._chosen(models)
        await self._check_tokens(name)
        await self._check_logprobs(name)
        return Served(name, tuple(models), models[name].get("max_model_len"))

    def _chosen(self, models: dict[str, dict[str, Any]]) -> str:
        """The name to ask for."""
        ours = (self.checkpoint.name, str(self.checkpoint.folder))
        if self._model is not None:
            fits = [name for name in models if name == self._model]
        else:
            named = [name for name, card in models.items() if name in ours or card.get("root") in ours]
            bases = {card.get("root"): name for name, card in models.items() if not card.get("parent")}
            fits = named[:1] or list(bases.values())
        if len(fits) != 1:
            raise UsageError(f"give `model`, one of those it serves: {', '.join(models) or 'none'}")
        return fits[0]

    async def _check_tokens(self, name: str) -> None:
        """Another model's tokens would be nonsense to it. A server without /tokenize is taken at its word."""
        text = "Naïve 42\n"
        asked = {"model": name, "prompt": f"<|im_start|>{text}<|image_pad|>", "add_special_tokens": False}
        try:
            theirs = (await self._json("POST", "/tokenize", asked))["tokens"]
        except (R4Error, KeyError, TypeError):
            return
        said = self.checkpoint.tokenizer.encode(text, add_special_tokens=False).ids
        if theirs != [self.checkpoint.token("<|im_start|>"), *said, self.checkpoint.token("<|image_pad|>")]:
            raise UsageError(
                f"its model {name} has other tokens than {self.checkpoint.name}: name the checkpoint that it "
                "serves, or serve this one"
            )

    async def _check_logprobs(self, name: str) -> None:
        """One token that has no alternative: a logprob of 0 is one after processing, not the model's own.
        What is wrong with the endpoint shows here as well, before any request is made."""
        start = self.checkpoint.token("<|im_start|>")
        sampling = {"max_tokens": 1, "temperature": 0.0, "logprobs": 0, "allowed_token_ids": [start]}
        asked = {"model": name, "token_ids": [start], "sampling_params": sampling}
        answer = await self._json("POST", GENERATE, asked)
        with expected():
            (entry,) = answer["choices"][0]["logprobs"]["content"]
            raw = entry["logprob"] < 0
        if not raw:
            raise RunError("its logprobs are not the model's own: start it with --logprobs-mode raw_logprobs")

    async def _json(self, method: str, path: str, content: Any = None) -> Any:
        """One short question."""
        seconds = min(GREETING, self.timeout)
        try:
            async with asyncio.timeout(seconds):
                response = await next(self._turn).request(method, path, json=content)
        except httpx.TransportError as error:
            raise Lost(_transport(error)) from error
        except TimeoutError as error:
            raise RunError(f"no answer to {path} in {seconds:g} s; it hangs: look at its log") from error
        self._answered = True
        if response.status_code != 200:
            raise _refusal(response)
        with expected():
            return response.json()


class _Pictures:
    """Which pictures the server has, as far as we know. One that two requests want at once is sent by the
    first; the second waits until the server has it. For one event loop."""

    def __init__(self) -> None:
        self._known: dict[str, None] = {}  # the oldest first
        self._coming: dict[str, asyncio.Event] = {}

    async def claim(self, refs: Collection[str]) -> set[str]:
        """Those to send along. Nobody waits who has claimed some, so no two wait for each other."""
        while coming := [self._coming[ref] for ref in refs if ref in self._coming]:
            await coming[0].wait()
        fresh = {ref for ref in refs if ref not in self._known}
        self._coming |= {ref: asyncio.Event() for ref in fresh}
        return fresh

    def arrived(self, refs: Collection[str]) -> None:
        self._known |= dict.fromkeys(refs)
        while len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]
        self.release(refs)

    def release(self, refs: Collection[str]) -> None:
        """Whoever waits for these goes on: to use them, or to send them."""
        for ref in refs:
            if coming := self._coming.pop(ref, None):
                coming.set()


def _root(base_url: str) -> str:
    """The server's address, with or without the `/v1` that OpenAI's clients want."""
    url = base_url.strip().rstrip("/").removesuffix("/v1")
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"base_url {base_url!r}: must be like http://localhost:8000")
    return url


def _refusal(response: httpx.Response) -> Exception:
    return refused(response.status_code, message(response.text), _asked_pause(response))


def _asked_pause(response: httpx.Response) -> float:
    """Retry-After: seconds, or a date."""
    after = response.headers.get("retry-after", "0")
    if after.isdigit():
        return float(after)
    try:
        return max(0.0, parsedate_to_datetime(after).timestamp() - time.time())
    except ValueError:
        return 0.0


def _transport(error: httpx.TransportError) -> str:
    return f"{type(error).__name__}: {one_line(error)}"

"""What the graph costs beside its model: 32 episodes at once through the graph, and a bare replay.

    python benchmarks/loop_efficiency.py [--rounds 3] [--hidden 256 --layers 4]

Real vLLM runs a random Qwen2.5-VL of a few million parameters, the size at which our own work weighs most; a
grammar decides what it says (`steered.py`), so that each episode selects, zooms, looks again, and answers in
its fourth turn. The replay asks the same engine the very same requests, the next of an episode when the one
before has come back, with nothing else done. Loop and replay take turns, each with vLLM's caches emptied
before it. First with views made beforehand, from open sources; then as it is at first sight, with files
opened and frames decoded, each episode its own clip. Our processor time is this process's in the loop, less
what it takes in the replay; the model has a process of its own, unless --in-process.
Ends with one line of JSON: `efficiency` is the replay's median time over the loop's.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path

from steered import TURNS, Crowd

from r4agent.engines.request import Request


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--episodes", type=int, default=32)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--in-process", action="store_true", help="vLLM in this very process")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        crowd = Crowd(
            Path(name), told.episodes, hidden=told.hidden, layers=told.layers, own_process=not told.in_process
        )
        print(f"{told.episodes} episodes of {TURNS} turns, {crowd.millions:.1f} M parameters", flush=True)
        try:
            with crowd.opened():
                loop(crowd)  # makes the views
                made = rounds(crowd, "views made before", told.rounds)
            decoded = rounds(crowd, "with decoding", told.rounds)
        finally:
            crowd.engine.close()
    print(json.dumps(made | {f"{key}_decoding": value for key, value in decoded.items()}))


def rounds(crowd: Crowd, what: str, count: int) -> dict[str, float]:
    """Loop and replay in turn. Medians."""
    loops, bares, busy = [], [], []
    for _ in range(count):
        wall, cpu = loop(crowd)
        bare, bare_cpu = replay(crowd, list(crowd.engine.asked.values()))
        loops.append(wall)
        bares.append(bare)
        busy.append(cpu - bare_cpu)
    turns = len(crowd.clips) * TURNS
    found = {
        "efficiency": statistics.median(bares) / statistics.median(loops),
        "cpu_ms_per_turn": 1000 * statistics.median(busy) / turns,
        "loop_ms_per_turn": 1000 * statistics.median(loops) / turns,
        "replay_ms_per_turn": 1000 * statistics.median(bares) / turns,
    }
    found = {key: round(value, 3) for key, value in found.items()}
    print(f"{what:18} {found}", flush=True)
    return found


def loop(crowd: Crowd) -> tuple[float, float]:
    """All episodes through the graph: seconds, and this process's processor seconds."""
    crowd.engine.forget()
    busy, started = time.process_time(), time.perf_counter()
    crowd.run()
    found = time.perf_counter() - started, time.process_time() - busy
    assert [len(chain) for chain in crowd.engine.asked.values()] == [TURNS] * len(crowd.clips)
    return found


def replay(crowd: Crowd, chains: list[list[Request]]) -> tuple[float, float]:
    """The same requests with nothing between them: seconds, and this process's processor seconds."""
    crowd.engine.forget()

    async def one(chain: list[Request]) -> None:
        for request in chain:
            await asyncio.wrap_future(crowd.engine.submit(request))

    async def every() -> None:
        await asyncio.gather(*map(one, chains))

    busy, started = time.process_time(), time.perf_counter()
    asyncio.run(every())
    return time.perf_counter() - started, time.process_time() - busy


if __name__ == "__main__":
    main()

"""What vLLM computes only once: prompts by its prefix cache, pictures by their media ids.

    python benchmarks/reuse.py [--episodes 32]

32 episodes of 4 turns through the graph, as in loop_efficiency.py, then again with media ids off. A turn's
earlier tokens are the prompt and reply of the turn before, but for the reply's last token, which was sampled
and never computed; vLLM keeps whole blocks, so those of them that fill blocks could be met again.
`cached_token_share` is how many were, by vLLM's count of each request. `pictures_processed_twice` is how
often its image processor ran, by the counters of its own cache, less the number of different pictures.
Ends with one line of JSON; `_without_ids` are the figures with media ids off, `loads` how many pictures'
pixels were read and handed over.
"""

import argparse
import itertools
import json
import tempfile
from pathlib import Path
from typing import Any

from steered import Crowd

from r4agent import Episode
from r4agent.ledger import Ledger


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--episodes", type=int, default=32)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=2)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        crowd = Crowd(Path(name), told.episodes, hidden=told.hidden, layers=told.layers, own_process=False)
        try:
            found = measured(crowd)
            crowd.engine.media_ids = False
            without = measured(crowd)
        finally:
            crowd.engine.close()
    print(json.dumps(found | {f"{key}_without_ids": value for key, value in without.items()}))


def measured(crowd: Crowd) -> dict[str, float]:
    """One run of all episodes, from empty caches."""
    engine = crowd.engine
    engine.forget()
    engine.pictures_processed()
    engine.loads = 0
    episodes = [Episode.read(result["episode"]) for result in crowd.run()]
    processed = engine.pictures_processed()
    block = engine.llm.llm_engine.vllm_config.cache_config.block_size
    earlier = cached = 0
    different: set[str] = set()
    for episode in episodes:
        replies = [line for line in episode.messages if line["role"] == "ai"]
        different.update(Ledger.of(replies).images)
        for before, reply in itertools.pairwise(replies):
            usage = before["usage_metadata"]
            earlier += (usage["input_tokens"] + usage["output_tokens"] - 1) // block * block
            cached += _cached(reply)
    found = {
        "cached_token_share": round(cached / earlier, 4),
        "pictures_processed_twice": processed - len(different),
        "pictures": len(different),
        "loads": engine.loads,
    }
    print(f"media ids {'on ' if engine.media_ids else 'off'} {found}", flush=True)
    return found


def _cached(reply: dict[str, Any]) -> int:
    return int(reply["usage_metadata"]["input_token_details"]["cache_read"])


if __name__ == "__main__":
    main()

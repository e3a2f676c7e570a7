"""Engines: what runs a policy's model. Tokens and pictures in, tokens and logprobs out.

    vllm           in this process, or a process of its own beside it   r4agent.engines.local
    http           a `vllm serve` elsewhere                             r4agent.engines.server
    transformers   for training, and machines without vLLM              r4agent.engines.hf

Promises: the same request means the same to each; none changes a picture's size or a prompt's tokens.
Does not: know messages. `r4agent.policy.chat` does.
"""

from r4agent.engines.checkpoint import Checkpoint
from r4agent.engines.request import Engine, Request, Sample, Sampling, Shown

__all__ = ["Checkpoint", "Engine", "Request", "Sample", "Sampling", "Shown"]

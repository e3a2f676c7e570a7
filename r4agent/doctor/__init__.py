"""The doctor: is this installation well, or a model, and if not, what is to be done.

    r4 doctor                                         r4agent.doctor.installation
    r4 doctor --model PATH|ID [--engine vllm|…]       r4agent.doctor.model

Promises: each check does the real thing in small, in the order in which a run needs it; a failed one says
what to change; one that can't be made because of another says which.
Does not: change anything but a probe in the store's folder. An engine fetches a model named by hub id, as a
run would.
"""

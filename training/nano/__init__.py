"""The nano policy: a Qwen2.5-VL of six million parameters, taught from nothing to ruminate in level 0.

    student         the checkpoint before it has learnt anything
    signs, pool     what it sees: crops of signs, frames of overviews
    lessons         taught episodes
    script, labels  rows as they are written, and which image tokens show what
    tasks           reading, locating and binding, after beginnings of lessons, and whole lessons
    forward, losses, scores, school     how it learns them

Does not: take part in the SFT and GRPO of other models, or load anything until it is asked for.
"""

"""The Budget: what one question may cost. One object for inference, training and evaluation.

Promises: pictures, their tokens and turns are checked before they are spent, and never exceeded. New tokens
and seconds are known only after a turn: once either is used up, the next turn is the last.
Does not: estimate memory or money, or interrupt a turn (set the chat model's own timeout and max_tokens).
"""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from r4agent.errors import UsageError


class Budget(BaseModel):
    """Limits of a run, and what a single picture may cost.

    turns: calls of the policy. images: pictures given to it, the overview included. image_tokens: their
    tokens. new_tokens: tokens the policy writes, where its model
    reports them. seconds: time spent in the graph's nodes.
    overview_images, overview_tokens: how many pictures the overview has, and the most tokens of one.
    picture_tokens: the most tokens of any one picture. The defaults are ours; the paper gives none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    turns: int = Field(default=8, ge=1, le=1000)
    images: int = Field(default=48, ge=1, le=10_000)
    image_tokens: int = Field(default=32_768, ge=4)
    new_tokens: int = Field(default=8_192, ge=1)
    seconds: float = Field(default=600.0, gt=0, allow_inf_nan=False)
    overview_images: int = Field(default=8, ge=1, le=1000)
    overview_tokens: int = Field(default=144, ge=4)
    picture_tokens: int = Field(default=1_280, ge=4)

    @classmethod
    def parse(cls, pairs: list[str]) -> Self:
        """From `KEY=VALUE` strings, as the command takes them."""
        values: dict[str, str] = {}
        for pair in pairs:
            key, equals, value = pair.partition("=")
            if not equals or key not in cls.model_fields:
                known = ", ".join(cls.model_fields)
                raise UsageError(f"budget {pair!r}: write KEY=VALUE with KEY one of {known}")
            values[key] = value
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            raise UsageError(f"budget {first['loc'][0]}={first['input']}: {first['msg']}") from error

    def over(self, base: "Budget") -> "Budget":
        """What was said here, and for the rest what `base` has."""
        return base.model_copy(update={key: getattr(self, key) for key in self.model_fields_set})

    def last(self, spent: "Spent") -> bool:
        """Whether the next turn is the last that the budget allows."""
        return (
            spent.turns + 1 >= self.turns
            or spent.images >= self.images
            or spent.image_tokens >= self.image_tokens
            or spent.new_tokens >= self.new_tokens
            or spent.seconds >= self.seconds
        )


class Spent(BaseModel):
    """What a run has cost so far, in the Budget's units; `decoded_frames` counts frames decoded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    turns: int = 0
    images: int = 0
    image_tokens: int = 0
    new_tokens: int = 0
    decoded_frames: int = 0
    seconds: float = 0.0

    def plus(self, **more: float) -> Self:
        return self.model_copy(update={key: getattr(self, key) + value for key, value in more.items()})

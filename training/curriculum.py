"""The curriculum: stages of training as data, in one YAML file.

    model: Qwen/Qwen2.5-VL-7B-Instruct
    out: runs/video
    budget: {turns: 6}
    evaluation: {questions: textworld, level: 1, n: 100}
    stages:
      - {name: drp-sft, trainer: sft, data: {episodes: data/deliberate}, settings: {learning_rate: 1e-5}}
      - {name: rl-d, trainer: grpo, data: {questions: textworld, level: 1, n: 500}, rewards: {accuracy: 1}}

Promises: what it doesn't know it refuses, naming file, stage and key, before anything runs; DRP-SFT → RL_d →
CRP-SFT → RL_c is a list in it, no code path.
Does not: run, or look whether the data is there.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from r4agent.budget import Budget
from r4agent.engines import Checkpoint
from r4agent.episode import Status
from r4agent.errors import MissingError, UsageError, one_line
from r4agent.evaluation import Questions, of_file, of_textworld
from r4agent.evidence import Supported


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Asked(_Strict):
    """Questions: of the text world, with level and n, or of a file. As `r4 eval` takes them."""

    questions: str
    level: int | None = None
    n: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0)
    root: tuple[Path, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        textworld = self.questions == "textworld"
        if textworld and (self.level is None or self.n is None):
            raise ValueError("questions of the textworld: give level and n")
        if not textworld and self.level is not None:
            raise ValueError(f"level goes with textworld; {self.questions!r} is taken for a file")
        return self

    def load(self) -> Questions:
        if self.level is not None and self.n is not None:
            return of_textworld(self.level, self.n, self.seed)
        return of_file(self.questions, self.n, self.seed, self.root)


class Kept(_Strict):
    """Episodes of a store, and which of them; see `r4agent.training.index.Which`."""

    episodes: Path
    status: tuple[Status, ...] = ("answered",)
    supported: tuple[Supported, ...] = ()
    stage: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    max_turns: int | None = Field(default=None, ge=1)
    max_pictures: int | None = Field(default=None, ge=1)
    max_tokens: int | None = Field(default=None, ge=1)

    @property
    def which(self) -> dict[str, Any]:
        """The filter, as `EpisodeStore.select` takes it. Only token-exact episodes can be trained on."""
        return self.model_dump(exclude={"episodes"}) | {"exact": True}


class Logged(Kept):
    """Rollouts to replay: all of them unless it is said which, since a group's mean is of all."""

    status: tuple[Status, ...] = ()


class Evaluation(Asked):
    """What is asked after each stage, and how. max_tokens: of a reply. workers: questions at once."""

    engine: Literal["transformers", "vllm"] = "transformers"
    max_tokens: int = Field(default=1024, ge=1)
    workers: int = Field(default=1, ge=1)


class _Stage(_Strict):
    """settings: of the trainer's own configuration in TRL. lora: of peft's LoraConfig; None trains the
    weights themselves. vision, dtype: see `r4agent.training.weights`."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    settings: dict[str, Any] = {}
    lora: dict[str, Any] | None = None
    vision: Literal["frozen", "trained"] = "frozen"
    dtype: Literal["float32", "bfloat16"] = "float32"


class Sft(_Stage):
    """A stage of supervised fine-tuning. train_on: which replies are learnt."""

    trainer: Literal["sft"]
    data: Kept
    train_on: Literal["all", "led"] = "all"


def _as_the_command_has_it(budget: Any) -> Any:
    return Budget.parse(budget.replace(" ", "").split(",")) if isinstance(budget, str) else budget


Written = Annotated[Budget, BeforeValidator(_as_the_command_has_it)]
"""A budget as a file has it: a mapping, or as `r4 ask` takes it."""


def _kind(data: Any) -> str:
    """Which of two forms data has, so that an error is told for that one."""
    episodes = isinstance(data, Kept) or (isinstance(data, Mapping) and "episodes" in data)
    return "episodes" if episodes else "questions"


class Grpo(_Stage):
    """A stage of GRPO: on questions, with an engine that answers them, or on logged episodes, replayed.
    rewards: see `r4agent.training.scoring`. budget: of a rollout, where it differs from the curriculum's.
    max_tokens: of a reply. engine_args, mask_cut: see `r4agent.training.grpo`."""

    trainer: Literal["grpo"]
    data: Annotated[
        Annotated[Asked, Tag("questions")] | Annotated[Logged, Tag("episodes")], Discriminator(_kind)
    ]
    engine: Literal["transformers", "vllm", "replay"] = "transformers"
    engine_args: dict[str, Any] = {}
    rewards: dict[str, Any]
    budget: Written = Budget()
    mask_cut: bool = True
    max_tokens: int = Field(default=1024, ge=1)

    @model_validator(mode="after")
    def _engine_and_data(self) -> Self:
        if (self.engine == "replay") != isinstance(self.data, Kept):
            raise ValueError(f"engine {self.engine!r}: replay goes with episodes, the others with questions")
        if self.engine == "replay" and self.budget.model_fields_set:
            raise ValueError("budget: episodes that are replayed have cost what they cost; leave it out")
        return self


Stage = Annotated[Sft | Grpo, Field(discriminator="trainer")]


class Curriculum(_Strict):
    """Stages, each of which begins with what the one before made. model: a checkpoint's folder or hub id.
    out: the folder of the run. devices: processes that train, over which FSDP or DeepSpeed shares out the
    weights. budget: of a question, in rollouts and in evaluation, where it differs from the model's own."""

    model: str
    out: Path
    devices: int = Field(default=1, ge=1)
    seed: int = Field(default=0, ge=0)
    budget: Written = Budget()
    evaluation: Evaluation | None = None
    stages: tuple[Stage, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError(f"stages: names must differ, and they are {', '.join(names)}")
        return self

    @property
    def asked_with(self) -> Budget:
        """What a question may cost: as the model has it, but for what the file says."""
        return self.budget.over(Checkpoint.load(self.model).budget)

    def rolled_with(self, stage: Sft | Grpo) -> Budget:
        """What a rollout of a stage may cost."""
        return stage.budget.over(self.asked_with) if isinstance(stage, Grpo) else self.asked_with

    @classmethod
    def read(cls, path: str | Path, **changes: Any) -> Self:
        """From a file, with `changes` in place of its own top-level values. Raises UsageError naming the
        stage and the key that is not as it should be."""
        path = Path(path)
        given = _yaml(path)
        if not isinstance(given, dict):
            raise UsageError(f"{path}: not a curriculum: give model, out and stages")
        given |= changes
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise UsageError(f"{path}: {_said(error, given)}") from error

    def folder(self, number: int) -> Path:
        """Where the stage with this number, from 1, leaves what it makes."""
        return self.out / f"{number:02d}-{self.stages[number - 1].name}"

    def dry(self) -> "Curriculum":
        """The same for one step a stage, with short replies, few rollouts and one question to evaluate: does
        it run at all, here and with this data? Beside the real run, in `<out>-dry`."""

        def short(stage: Sft | Grpo) -> Sft | Grpo:
            settings = {**stage.settings, "max_steps": 1, "gradient_accumulation_steps": 1}
            if isinstance(stage, Sft):
                return stage.model_copy(update={"settings": settings | {"per_device_train_batch_size": 1}})
            settings |= {"per_device_train_batch_size": 2, "num_generations": 2}
            settings.pop("generation_batch_size", None)
            settings.pop("steps_per_generation", None)
            data = stage.data
            if isinstance(data, Asked):
                data = data.model_copy(update={"n": self.devices})  # a group for each
            cheap = {"data": data, "max_tokens": 16, "budget": Budget()}
            return stage.model_copy(update={"settings": settings, **cheap})

        evaluation = self.evaluation and self.evaluation.model_copy(update={"n": 1, "max_tokens": 16})
        budget = self.budget.model_copy(update={"turns": 2})
        stages = tuple(short(stage) for stage in self.stages)
        out = Path(f"{self.out}-dry")
        return self.model_copy(
            update={"out": out, "stages": stages, "evaluation": evaluation, "budget": budget}
        )


def _yaml(path: Path) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise MissingError('no pyyaml: pip install "r4agent[train]"') from error
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: can't be read ({error.strerror}); name a curriculum file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not YAML: {one_line(error)}") from error


def _said(error: ValidationError, given: Mapping[str, Any]) -> str:
    """The first thing that is wrong, where it stands, and what may stand there."""
    first = error.errors(include_url=False)[0]
    where, at = list(first["loc"]), ""
    of: type[BaseModel] = Curriculum
    data: type[BaseModel] = Kept
    if where[:1] == ["stages"] and len(where) > 1:
        stage = given["stages"][where[1]]
        at = f"stage {stage.get('name', stage) if isinstance(stage, dict) else stage}: "
        of = Grpo if "grpo" in where[2:3] else Sft
        where = where[3:]
        if of is Grpo and where[:1] == ["data"] and len(where) > 1 and where.pop(1) == "questions":
            data = Asked
    key = ".".join(map(str, where))
    match first["type"]:
        case "extra_forbidden":
            inner: dict[str, type[BaseModel]] = {"data": data, "evaluation": Evaluation, "budget": Budget}
            known = inner.get(str(where[0]), of) if len(where) > 1 else of
            return f"{at}{key}: there is no such key; there are {', '.join(known.model_fields)}"
        case "union_tag_invalid" | "union_tag_not_found":
            return f"{at}trainer: must be sft or grpo"
        case "missing":
            return f"{at}{key}: is missing"
        case "value_error":  # ours: it says the value itself
            return f"{at}{key + ': ' if key else ''}{first['ctx']['error']}"
        case _:
            return f"{at}{key}: {first['msg']}, not {first['input']!r}"

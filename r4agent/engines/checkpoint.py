"""A Checkpoint: what must be known of a model to speak with it, from its own files.

Promises: a local folder or a hub id, of the Qwen2.5-VL or Qwen3-VL family; its ModelProfile follows from its
config, or from an `r4agent.json` beside it, which may also name the Budget that it was trained with; anything
else is refused by name.
Does not: load weights (engines do) or need torch.
"""

import hashlib
import json
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from r4agent.budget import Budget
from r4agent.errors import MissingError, UsageError, one_line
from r4agent.geometry import ModelProfile, Space

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Family = Literal["qwen2_5_vl", "qwen3_vl"]
SPACES: dict[str, Space] = {"qwen2_5_vl": "shown", "qwen3_vl": "thousand"}
"""Which boxes a family was trained to write: pixels of the picture it was shown, or thousandths."""

FILES = ["*.json", "*.txt", "*.jinja"]  # all but the weights
PROFILE_FILE = "r4agent.json"
"""What a checkpoint says of itself, such as {"space": "thousand", "budget": {"turns": 5}}."""


@dataclass(frozen=True)
class Checkpoint:
    """name: as the user gave it, a path or a hub id. folder: where its files are."""

    name: str
    folder: Path
    config: dict[str, Any] = field(compare=False, repr=False)

    @classmethod
    def load(cls, name: str | Path) -> "Checkpoint":
        """Raises MissingError when there is no such checkpoint, UsageError when it is of another family."""
        return _load(str(name), Path(name).expanduser().absolute())

    @property
    def family(self) -> Family:
        family: Family = self.config["model_type"]
        return family

    @property
    def weights(self) -> str:
        """What libraries load its weights by: the folder, or the hub id."""
        return str(self.folder) if Path(self.name).expanduser().is_dir() else self.name

    @property
    def dtype(self) -> str | None:
        """What its weights were saved in, as torch names it; None where its config doesn't say."""
        places = [self.config, _text_config(self.config)]
        said = [place.get(key) for place in places for key in ("dtype", "torch_dtype")]
        return next((str(dtype) for dtype in said if dtype), None)

    @property
    def patch(self) -> int:
        """Pixels a side of a patch; `image_grid_thw` counts these."""
        return int(self.config["vision_config"]["patch_size"])

    @property
    def merge(self) -> int:
        """Patches a side that become one image token."""
        return int(self.config["vision_config"].get("spatial_merge_size", 2))

    @property
    def context(self) -> int:
        """The most tokens of a prompt and its reply together."""
        return int(_text_config(self.config)["max_position_embeddings"])

    @property
    def vocabulary(self) -> int:
        """How many ids the model has embeddings for."""
        return int(_text_config(self.config)["vocab_size"])

    @cached_property
    def profile(self) -> ModelProfile:
        """How the model takes pictures and writes boxes."""
        grid = self.patch * self.merge
        sizes = _image_sizes(self.folder)
        processor = ModelProfile(
            self.family.replace("_vl", "-vl").replace("_", "."),
            SPACES[self.family],
            grid=grid,
            min_pixels=sizes.get("shortest_edge", 4 * grid * grid),
            max_pixels=sizes.get("longest_edge", 16384 * grid * grid),
        )
        return _own_profile(self.folder / PROFILE_FILE, processor)

    @cached_property
    def budget(self) -> Budget:
        """What a question may cost where the user does not say it: what the model was trained with."""
        path = self.folder / PROFILE_FILE
        own = _read_json(path).get("budget", {})
        if not isinstance(own, dict):
            raise UsageError(f"{path}: budget {own!r}: must be an object")
        try:
            return Budget.parse([f"{key}={value}" for key, value in own.items()])
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from error

    @cached_property
    def tokenizer(self) -> "Tokenizer":
        """The tokenizer, with special tokens off: text that spells one stays text."""
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise MissingError(
                'no tokenizers: pip install "r4agent[server]", or the extra of an engine'
            ) from error
        path = self.folder / "tokenizer.json"
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises nothing narrower
            raise MissingError(
                f"{path}: can't be read: {one_line(error)}; copy the checkpoint anew"
            ) from error
        tokenizer.encode_special_tokens = True
        return tokenizer

    @cached_property
    def tokenizer_digest(self) -> str:
        """Of the tokenizer's tokens with their ids: where it is equal, ids mean the same."""
        tokens = sorted((ident, token) for token, ident in self.tokenizer.get_vocab().items())
        return hashlib.sha256(json.dumps(tokens).encode()).hexdigest()[:16]

    def token(self, text: str) -> int:
        """The id of a token by its name, such as `<|im_end|>`."""
        ident = self.tokenizer.token_to_id(text)
        if ident is None:
            raise UsageError(f"{self.name}: its tokenizer has no {text}; it is no Qwen-VL chat checkpoint")
        return int(ident)

    @cached_property
    def image_token(self) -> int:
        return int(self.config["image_token_id"])

    @cached_property
    def banned(self) -> tuple[int, ...]:
        """Ids a reply must not have: a sampled image token has no picture."""
        names = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
        return tuple(self.token(name) for name in names)

    def tokens(self, grid: tuple[int, int, int]) -> int:
        """Image tokens of a picture with this grid."""
        return grid[0] * grid[1] * grid[2] // self.merge**2


@cache
def _load(name: str, folder: Path) -> Checkpoint:
    if not folder.is_dir():
        folder = _from_hub(name)
    config = _read_json(folder / "config.json")
    if not config:
        raise MissingError(f"{folder}: has no config.json; give the folder of a whole checkpoint")
    family = config.get("model_type")
    if family not in SPACES:
        raise UsageError(
            f"{name}: is of the family {family!r}; r4agent's engines speak {', '.join(SPACES)}. Serve others "
            "with an OpenAI-compatible server and give its LangChain chat model as the policy"
        )
    if not (folder / "tokenizer.json").is_file():
        raise MissingError(f"{folder}: has no tokenizer.json; save the checkpoint with its fast tokenizer")
    return Checkpoint(name, folder, config)


def _from_hub(name: str) -> Path:
    """The folder of a hub id's small files, fetched when they are not in the hub's own cache."""
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise MissingError(f"{name}: no such folder; give one, or a hub id such as Qwen/Qwen3-VL-8B-Instruct")
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingError(
            'no huggingface-hub: pip install "r4agent[server]", or the extra of an engine'
        ) from error
    try:
        return Path(snapshot_download(name, allow_patterns=FILES))
    except Exception as error:  # offline, no such repository, gated: the hub's own words say which
        raise MissingError(
            f"{name}: no such folder, and the hub did not give it: {one_line(error)}"
        ) from error


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise MissingError(f"{path}: can't be read: {one_line(error)}; copy the checkpoint anew") from error
    if not isinstance(value, dict):
        raise MissingError(f"{path}: holds no JSON object; copy the checkpoint anew")
    return value


def _own_profile(path: Path, processor: ModelProfile) -> ModelProfile:
    """What a checkpoint says of itself, over what its processor says. The processor's range holds: what lies
    outside it would be resized."""
    own = {key: value for key, value in _read_json(path).items() if key != "budget"}
    unknown = set(own) - {"name", "space", "min_pixels", "max_pixels"}
    if unknown:
        raise UsageError(f"{path}: unknown keys {', '.join(sorted(unknown))}")
    if own.get("space", processor.space) not in get_args(Space):
        raise UsageError(f"{path}: space {own['space']!r}: must be one of {', '.join(get_args(Space))}")
    profile = replace(processor, **own)
    sizes = (processor.min_pixels, profile.min_pixels, profile.max_pixels, processor.max_pixels)
    if not all(isinstance(size, int) for size in sizes) or list(sizes) != sorted(sizes):
        raise UsageError(
            f"{path}: min_pixels {profile.min_pixels!r}, max_pixels {profile.max_pixels!r}: must lie within "
            f"{processor.min_pixels} to {processor.max_pixels}, which the checkpoint's image processor takes"
        )
    return profile


def _text_config(config: dict[str, Any]) -> dict[str, Any]:
    """Qwen2.5-VL's older configs keep the language model's keys at the top."""
    text: dict[str, Any] = config.get("text_config") or config
    return text


def _image_sizes(folder: Path) -> dict[str, int]:
    """The pixel range of the image processor, as shortest_edge and longest_edge: in spite of their names
    transformers takes them for pixels."""
    processor = _read_json(folder / "preprocessor_config.json")
    processor = _read_json(folder / "processor_config.json").get("image_processor") or processor
    sizes: dict[str, int] = dict(processor.get("size") or {})
    for key, edge in (("min_pixels", "shortest_edge"), ("max_pixels", "longest_edge")):
        if processor.get(key):
            sizes[edge] = processor[key]
    return sizes

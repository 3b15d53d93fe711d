"""The parts of a model folder, loaded one by one so that an error names the part, and only of known kinds."""

import importlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import ModelMixin, SchedulerMixin
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from model.checkpoint import CheckpointError, read_json, without_progress_bars

LIBRARIES = ("diffusers", "transformers", "model.components")
"""Where a component's class may come from; nothing in a folder is ever imported."""

VOCABULARIES = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("spiece.model",))
"""Files that a tokenizer is made of; without them transformers makes one that knows no words."""


def component_names(folder: Path) -> dict[str, tuple[str, str]]:
    """The components that `model_index.json` says are there: name -> (library, class)."""
    index = read_json(folder / "model_index.json")
    return {
        name: (value[0], value[1])
        for name, value in index.items()
        if not name.startswith("_") and isinstance(value, list) and len(value) == 2 and value[0] is not None
    }


def settings_of(folder: Path) -> dict[str, Any]:
    """What `model_index.json` says of the pipeline beside its components."""
    index = read_json(folder / "model_index.json")
    return {name: value for name, value in index.items() if not name.startswith("_") and not isinstance(value, list)}


def component_class(folder: Path, name: str, library: str, class_name: str) -> type:
    if library.startswith("model."):  # wherever it was defined when the folder was saved
        library = "model.components"
    if library not in LIBRARIES:
        raise CheckpointError(
            f"{folder / 'model_index.json'} takes {name} from {library!r}, and only {', '.join(LIBRARIES)} may be used"
        )
    kind = getattr(importlib.import_module(library), class_name, None)
    known = (ModelMixin, SchedulerMixin, PreTrainedModel, PreTrainedTokenizerBase)
    if not (isinstance(kind, type) and issubclass(kind, known)):
        version = {"diffusers": diffusers, "transformers": transformers}.get(library)
        whose = f"{library} {version.__version__}" if version else library
        raise CheckpointError(
            f"{folder / 'model_index.json'} wants {class_name} for {name}, which is no network, scheduler or "
            f"tokenizer of {whose}"
        )
    return kind


@contextmanager
def naming(component: Path) -> Iterator[None]:
    """Turns whatever a library raises over a component into a CheckpointError that names its folder."""
    try:
        yield
    except (CheckpointError, torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:  # the tokenizers library raises no narrower one
        raise CheckpointError(f"{component} cannot be loaded: {error}") from error


def load_component(folder: Path, name: str, kind: type, dtype: torch.dtype | None, variant: str | None = None) -> Any:
    """One component of a folder that `check_folder` has passed. dtype: None is that of the weights' config or float32.

    Raises CheckpointError when it cannot be loaded, or its weights are not those of its configuration: libraries fill
    such gaps with random numbers.
    """
    component = folder / name
    if issubclass(kind, PreTrainedTokenizerBase) and not any(
        all((component / file).exists() for file in files) for files in VOCABULARIES
    ):
        known = " or ".join(" with ".join(files) for files in VOCABULARIES)
        raise CheckpointError(f"{component} holds no vocabulary: {known}")
    if not issubclass(kind, ModelMixin | PreTrainedModel):
        with naming(component):
            return kind.from_pretrained(component, local_files_only=True)  # type: ignore[attr-defined]
    options: dict[str, Any] = {"dtype": dtype, "use_safetensors": True, "local_files_only": True, "variant": variant}
    with naming(component), without_progress_bars():
        network, report = kind.from_pretrained(component, output_loading_info=True, **options)  # type: ignore[attr-defined]
        gaps = [*report["missing_keys"], *(report["mismatched_keys"] or ())]
        if gaps:
            raise CheckpointError(
                f"{component} does not hold the weights that its config.json describes: {len(gaps)} missing or of "
                f"another shape, e.g. {gaps[0]}"
            )
    return network


def load_components(folder: Path, names: Iterable[str], dtype: torch.dtype | None) -> dict[str, Any]:
    """Those of `names` that the folder has."""
    there = component_names(folder)
    return {
        name: load_component(folder, name, component_class(folder, name, *there[name]), dtype)
        for name in names
        if name in there
    }

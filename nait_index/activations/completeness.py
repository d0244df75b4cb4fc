"""Whether layers hold parts of feed-forward blocks that are not captured: a model is captured whole or refused."""

import re
from collections.abc import Iterator, Mapping, Set
from typing import Any

from nait_index.activations.experts import holds_experts

# Other towers of a multimodal checkpoint, and heads that predict several tokens ahead: no part of the text model.
OTHER_TOWER = re.compile(r"(^|\.)\w*(vision|visual|video|audio|image|speech|qformer|mtp)\w*(\.|$)")
# Parts of a layer that mix tokens, route or normalise, by their path below the layer or their class.
_NOT_FEED_FORWARD = re.compile(
    r"(attn|attention|mamba|ssm|conv|temporal|rg_?lru|router|gate\b|laurel|altup|per_layer|lora|adapter|indexer|norm|"
    r"pooler|delta|recurrent|lightning|kda|gla\b|compressor|lstm|time_mix|bottleneck|latent_proj)",
    re.IGNORECASE,
)


def find_leftovers(hooked: Set[str], stack: str, modules: Mapping[str, Any], widths: Set[int]) -> list[str]:
    """Find what looks like a part of a feed-forward block and is not captured: experts and down projections.

    :param hooked: paths of what is captured. :param stack: path of the list of layers.
    :param modules: of the transformer, by path; a module that layers share has a path in each.
    :param widths: of the hidden states.
    :returns: their paths with ``{i}`` for the layer, sorted.
    """
    return sorted({to_pattern(path, stack) for path in _leftovers(hooked, stack, modules, widths)})


def _leftovers(hooked: Set[str], stack: str, modules: Mapping[str, Any], widths: Set[int]) -> Iterator[str]:
    for path, module in modules.items():
        below = path.removeprefix(f"{stack}.").partition(".")[2]
        if not path.startswith(f"{stack}.") or not below or any(path.startswith(f"{site}.") for site in hooked):
            continue
        if path in hooked or is_other_part(path, stack, modules):
            continue
        weight = getattr(module, "weight", None)
        is_matrix = weight is not None and weight.dim() == 2 and type(module).__name__ != "Embedding"
        if holds_experts(module) or (is_matrix and out_width(module) in widths and in_width(module) not in widths):
            yield path


def is_other_part(path: str, stack: str, modules: Mapping[str, Any]) -> bool:
    """Decide whether a module belongs to something other than a feed-forward block, by names and classes down to it."""
    parts = path.removeprefix(f"{stack}.").split(".")
    below = ".".join(parts[1:])
    if _NOT_FEED_FORWARD.search(below) or OTHER_TOWER.search(below):
        return True
    parents = (".".join([stack, *parts[:depth]]) for depth in range(2, len(parts) + 1))
    return any(_NOT_FEED_FORWARD.search(type(modules[parent]).__name__) for parent in parents)


def to_pattern(path: str, stack: str) -> str:
    """Return a path with ``{i}`` for the number of its layer."""
    return f"{stack}.{{i}}.{path.removeprefix(f'{stack}.').partition('.')[2]}"


def in_width(module: Any) -> int:  # noqa: ANN401 - a projection
    """Return the width of what a projection reads."""
    # transformers' Conv1D (GPT-2) keeps its weight as (in, out), every Linear as (out, in).
    return int(module.weight.shape[0 if type(module).__name__ == "Conv1D" else 1])


def out_width(module: Any) -> int:  # noqa: ANN401 - a projection
    """Return the width of what a projection computes."""
    return int(module.weight.shape[1 if type(module).__name__ == "Conv1D" else 0])

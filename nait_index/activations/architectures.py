"""Where each model family keeps its neurons.

A neuron is one coordinate of the input of a feed-forward block's *down projection*. For every family the table below
names that projection by a pattern over module paths of the bare transformer body (``AutoModel``), ``{i}`` standing for
the layer number. Families that are not in the table are searched for the same names. A mixture-of-experts layer keeps
its projections as one 3-D parameter for all experts: there the experts module itself is the site, and
:mod:`nait_index.activations.experts` recomputes what enters the down projections.

To add a family, add one line to ``FAMILIES`` and one to the table in ``tests/test_architectures.py``.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from nait_index.errors import ArchitectureError

if TYPE_CHECKING:
    from torch import nn


class SiteKind(StrEnum):
    """What sits at a site: one projection, or all experts of a mixture-of-experts layer in one module."""

    PROJECTION = "projection"
    EXPERTS = "experts"


@dataclass(frozen=True, slots=True)
class Site:
    """One module whose input holds neurons: its layer, its path in the model body, its number of neurons."""

    layer: int
    path: str
    kind: SiteKind
    width: int


GATED = ("layers.{i}.mlp.down_proj",)
MIXTURE = (
    "layers.{i}.mlp.down_proj",
    "layers.{i}.mlp.experts",
    "layers.{i}.mlp.shared_expert.down_proj",
    "layers.{i}.mlp.shared_experts.down_proj",
)

FAMILIES: Mapping[str, tuple[str, ...]] = {
    "llama": GATED,
    "mistral": GATED,
    "qwen2": GATED,
    "qwen3": GATED,
    "gemma": GATED,
    "gemma2": GATED,
    "gemma3_text": GATED,
    "gemma3": ("language_model.layers.{i}.mlp.down_proj",),
    "olmo2": GATED,
    "phi3": GATED,
    "phi": ("layers.{i}.mlp.fc2",),
    "gpt2": ("h.{i}.mlp.c_proj",),
    "gpt_neox": ("layers.{i}.mlp.dense_4h_to_h",),
    "falcon": ("h.{i}.mlp.dense_4h_to_h",),
    "opt": ("decoder.layers.{i}.fc2",),
    "bert": ("encoder.layer.{i}.output.dense",),
    "roberta": ("encoder.layer.{i}.output.dense",),
    "xlm-roberta": ("encoder.layer.{i}.output.dense",),
    "distilbert": ("transformer.layer.{i}.ffn.lin2",),
    "t5": ("encoder.block.{i}.layer.1.DenseReluDense.wo",),
    "mixtral": MIXTURE,
    "qwen2_moe": MIXTURE,
    "qwen3_moe": MIXTURE,
    "deepseek_v3": MIXTURE,
    "gpt_oss": MIXTURE,
}

# The same names under any prefix, for families that the table does not know; the first that matches every layer wins.
FALLBACK_SUFFIXES = (
    ("mlp.down_proj", "mlp.experts", "mlp.shared_expert.down_proj", "mlp.shared_experts.down_proj"),
    ("feed_forward.down_proj",),
    ("feed_forward.w2",),
    ("mlp.dense_4h_to_h",),
    ("mlp.c_proj",),
    ("mlp.fc2",),
    ("mlp.fc_out",),
    ("ffn.lin2",),
    ("fc2",),
    ("output.dense",),
)
# Towers beside the language model of a multimodal checkpoint, and BERT's attention output, are not its neurons.
FALLBACK_EXCLUDED = re.compile(r"(^|\.)(vision|visual|audio|image|attention|attn|mtp)\w*(\.|$)")


def find_sites(body: "nn.Module", model_type: str, pattern: str | None = None) -> tuple[Site, ...]:
    """Find every site of a transformer body, in layer order.

    :param body: the bare transformer, as ``AutoModel`` returns it.
    :param model_type: the family's name in its configuration, e.g. ``llama``.
    :param pattern: module path with ``{i}`` for the layer number, overriding the table (``--site``).
    :raises ArchitectureError: nothing matched, a layer is missing, or a match is not a projection.
    """
    modules = dict(body.named_modules())
    if pattern is not None:
        paths = _match(modules, (_to_regex(pattern),))
        found_by = f"the site pattern '{pattern}'"
    elif model_type in FAMILIES:
        paths = _match(modules, tuple(_to_regex(p) for p in FAMILIES[model_type]))
        found_by = f"the table of families ('{model_type}')"
    else:
        paths = _match_fallback(modules)
        found_by = "the structural search"
    if not paths:
        raise ArchitectureError(
            f"no feed-forward down projection found in a '{model_type}' model by {found_by}; name it with --site, "
            f"for example --site '{_suggest(modules)}'"
        )
    layers = sorted({layer for layer, _ in paths})
    if layers != list(range(len(layers))):
        missing = sorted(set(range(layers[-1] + 1)) - set(layers))
        raise ArchitectureError(f"layers {missing} of this '{model_type}' model have no site found by {found_by}")
    return tuple(_to_site(layer, path, modules[path]) for layer, path in paths)


def _to_regex(pattern: str) -> re.Pattern[str]:
    if "{i}" not in pattern:
        raise ArchitectureError(f"site pattern '{pattern}' must hold {{i}} where the layer number stands")
    return re.compile("^" + re.escape(pattern).replace(r"\{i\}", r"(\d+)") + "$")


def _match(paths: Iterable[str], patterns: tuple[re.Pattern[str], ...]) -> list[tuple[int, str]]:
    hits = [(int(m[1]), order, path) for path in paths for order, p in enumerate(patterns) if (m := p.match(path))]
    return [(layer, path) for layer, _, path in sorted(hits)]


def _match_fallback(modules: Mapping[str, "nn.Module"]) -> list[tuple[int, str]]:
    for suffixes in FALLBACK_SUFFIXES:
        patterns = tuple(re.compile(rf"^(?:[A-Za-z_]\w*\.)*?\w+\.(\d+)\.{re.escape(s)}$") for s in suffixes)
        hits = _match((path for path in modules if not FALLBACK_EXCLUDED.search(path)), patterns)
        if hits:
            return hits
    return []


def _suggest(modules: Mapping[str, Any]) -> str:
    """Give the shape of the deepest path with a layer number that holds a weight, as an example for ``--site``."""
    for path, module in modules.items():
        if re.search(r"\.0\.", path) and getattr(module, "weight", None) is not None and module.weight.dim() == 2:
            return re.sub(r"\.0\.", ".{i}.", path, count=1)
    return "layers.{i}.mlp.down_proj"


def _to_site(layer: int, path: str, module: Any) -> Site:  # noqa: ANN401 - what a path leads to is found out here
    stacked = getattr(module, "gate_up_proj", None)
    if stacked is not None and getattr(stacked, "ndim", 0) == 3:
        return Site(layer, path, SiteKind.EXPERTS, _expert_width(module, path))
    weight = getattr(module, "weight", None)
    if weight is None or weight.dim() != 2:
        raise ArchitectureError(
            f"'{path}' ({type(module).__name__}) has no 2-D weight; name the down projection with --site"
        )
    # transformers' Conv1D (GPT-2) keeps its weight as (in, out), every Linear as (out, in).
    width = weight.shape[0] if type(module).__name__ == "Conv1D" else weight.shape[1]
    return Site(layer, path, SiteKind.PROJECTION, int(width))


def _expert_width(module: Any, path: str) -> int:  # noqa: ANN401
    """Neurons of all experts together: experts × intermediate width of one."""
    if not callable(getattr(module, "_apply_gate", None)):
        raise ArchitectureError(
            f"the experts at '{path}' ({type(module).__name__}) are fused in a way that is not understood; "
            "capture another part of the model with --site"
        )
    experts, a, b = module.gate_up_proj.shape
    doubled = b if getattr(module, "is_transposed", False) else a
    return int(experts) * int(doubled) // 2

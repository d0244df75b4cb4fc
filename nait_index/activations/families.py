"""Where each model family keeps its neurons.

A neuron is one coordinate of the input of a feed-forward block's *down projection*. For every family, the table below
names that projection by a pattern over module paths of the bare transformer (``AutoModel``), where ``{i}`` is the layer
number. Families that are not in the table are searched for the same names. A mixture-of-experts layer stores the
projections of all experts in one 3-D parameter: there the experts module itself is the site, and
:func:`expert_activations` recomputes the inputs of the down projections.

A neuron's *impact* is the size of its up-projection's output (NAG, Wang et al., arXiv 2604.15706);
:func:`find_up_projection` finds that projection beside the down projection.

To add a family, add its name to ``FAMILIES`` and a computation of its neurons by hand to ``tests/test_families.py``.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nait_index.errors import ArchitectureError

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True, slots=True)
class Site:
    """One module whose input holds neurons: its layer, its path in the bare transformer, its number of neurons.

    :param has_experts: whether it holds all experts of a mixture-of-experts layer; otherwise it is one projection.
    """

    layer: int
    path: str
    width: int
    has_experts: bool = False


@dataclass(frozen=True, slots=True)
class ExpertTokens:
    """What one expert computes.

    :param tokens: (m,) positions of the tokens that were routed to it, in the flattened batch.
    :param neurons: (m, I) input of its down projection; :param up: (m, I) output of its up-projection.
    """

    expert: int
    tokens: "torch.Tensor"
    neurons: "torch.Tensor"
    up: "torch.Tensor"


_MIXTURE_SUFFIXES = ("mlp.down_proj", "mlp.experts", "mlp.shared_expert.down_proj", "mlp.shared_experts.down_proj")
GATED = ("layers.{i}.mlp.down_proj",)
MIXTURE = tuple(f"layers.{{i}}.{suffix}" for suffix in _MIXTURE_SUFFIXES)

FAMILIES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "olmo2", "phi3"), GATED),
    **dict.fromkeys(("mixtral", "qwen2_moe", "qwen3_moe", "deepseek_v3", "gpt_oss"), MIXTURE),
    **dict.fromkeys(("bert", "roberta", "xlm-roberta"), ("encoder.layer.{i}.output.dense",)),
    "gemma3": ("language_model.layers.{i}.mlp.down_proj",),
    "phi": ("layers.{i}.mlp.fc2",),
    "gpt2": ("h.{i}.mlp.c_proj",),
    "gpt_neox": ("layers.{i}.mlp.dense_4h_to_h",),
    "falcon": ("h.{i}.mlp.dense_4h_to_h",),
    "opt": ("decoder.layers.{i}.fc2",),
    "distilbert": ("transformer.layer.{i}.ffn.lin2",),
    "t5": ("encoder.block.{i}.layer.1.DenseReluDense.wo",),
}

# The same names under any prefix, for families that are not in the table; the first group that matches anything wins.
FALLBACK_SUFFIXES = (
    _MIXTURE_SUFFIXES,
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
# Excludes the other towers of a multimodal checkpoint, and BERT's attention output, which has the same name.
FALLBACK_EXCLUDED = re.compile(r"(^|\.)(vision|visual|audio|image|attention|attn|mtp)\w*(\.|$)")

BOTH_HALVES = "gate_up_proj"
"""Name of a projection that computes the gate, then the up-projection."""

# Down projection → the names that its up-projection may have beside it; the first that exists is taken.
_UP_NAMES = {
    "down_proj": ("up_proj", BOTH_HALVES),
    "fc2": ("fc1",),
    "c_proj": ("c_fc",),
    "dense_4h_to_h": ("dense_h_to_4h",),
    "lin2": ("lin1",),
    "wo": ("wi_1", "wi"),
    "w2": ("w3",),
    "fc_out": ("fc_in",),
    "output.dense": ("intermediate.dense",),
}


def find_sites(body: "nn.Module", model_type: str, pattern: str | None = None) -> tuple[Site, ...]:
    """Find every site of a bare transformer, in layer order.

    :param body: the transformer, as ``AutoModel`` returns it.
    :param model_type: the family's name in its configuration, e.g. ``llama``.
    :param pattern: module path with ``{i}`` for the layer number, overriding the table (``--site``).
    :raises ArchitectureError: nothing matched, a layer is missing, or a match is not a projection.
    """
    modules = dict(body.named_modules())
    if pattern is not None:
        paths = _match(modules, (_to_regex(pattern),))
        searched = f"the site pattern '{pattern}'"
    elif model_type in FAMILIES:
        paths = _match(modules, tuple(_to_regex(p) for p in FAMILIES[model_type]))
        searched = f"the table of families ('{model_type}')"
    else:
        paths = _match_fallback(modules)
        searched = "the structural search"
    if not paths:
        raise ArchitectureError(
            f"no feed-forward down projection found in a '{model_type}' model by {searched}; name it with --site, "
            f"for example --site '{_suggest(modules)}'"
        )
    layers = sorted({layer for layer, _ in paths})
    if layers != list(range(len(layers))):
        missing = sorted(set(range(layers[-1] + 1)) - set(layers))
        raise ArchitectureError(f"layers {missing} of this '{model_type}' model have no site found by {searched}")
    return tuple(_to_site(layer, path, modules[path]) for layer, path in paths)


def _to_regex(pattern: str) -> re.Pattern[str]:
    if "{i}" not in pattern:
        raise ArchitectureError(f"site pattern '{pattern}' must contain {{i}} in place of the layer number")
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
    """Return the pattern of the first path with a layer number and a 2-D weight, as an example for ``--site``."""
    for path, module in modules.items():
        if re.search(r"\.0\.", path) and getattr(module, "weight", None) is not None and module.weight.dim() == 2:
            return re.sub(r"\.0\.", ".{i}.", path, count=1)
    return "layers.{i}.mlp.down_proj"


def _to_site(layer: int, path: str, module: Any) -> Site:  # noqa: ANN401 - any module
    stacked = getattr(module, BOTH_HALVES, None)
    if stacked is not None and getattr(stacked, "ndim", 0) == 3:
        return Site(layer, path, _expert_width(module, path), has_experts=True)
    weight = getattr(module, "weight", None)
    if weight is None or weight.dim() != 2:
        raise ArchitectureError(
            f"'{path}' ({type(module).__name__}) has no 2-D weight; name the down projection with --site"
        )
    # transformers' Conv1D (GPT-2) keeps its weight as (in, out), every Linear as (out, in).
    width = weight.shape[0] if type(module).__name__ == "Conv1D" else weight.shape[1]
    return Site(layer, path, int(width))


def _expert_width(module: Any, path: str) -> int:  # noqa: ANN401
    """Count the neurons of all experts together: experts × intermediate width of one."""
    if not callable(getattr(module, "_apply_gate", None)):
        raise ArchitectureError(
            f"the experts at '{path}' ({type(module).__name__}) are fused in an unsupported way; "
            "capture another part of the model with --site"
        )
    experts, a, b = module.gate_up_proj.shape
    doubled = b if getattr(module, "is_transposed", False) else a
    return int(experts) * int(doubled) // 2


def find_up_projection(body: "nn.Module", site: Site) -> str | None:
    """Find the path of the up-projection that belongs to a down projection; fused experts have no such module.

    Where one projection computes both halves of a gated block (:data:`BOTH_HALVES`), its second half is meant.

    :raises ArchitectureError: there is none under any known name.
    """
    if site.has_experts:
        return None
    for down, names in _UP_NAMES.items():
        if not site.path.endswith(f".{down}"):
            continue
        parent = site.path.removesuffix(down)
        for name in names:
            if has_module(body, parent + name):
                return parent + name
    raise ArchitectureError(
        f"no up-projection found beside '{site.path}', which the view topk needs; leave topk out of --views"
    )


def has_module(body: "nn.Module", path: str) -> bool:
    """Report whether a transformer has a module at a path."""
    try:
        body.get_submodule(path)
    except AttributeError:
        return False
    return True


def expert_activations(
    experts: Any,  # noqa: ANN401 - a fused module, recognised by its attributes
    hidden: "torch.Tensor",
    routed: "torch.Tensor",
) -> Iterator[ExpertTokens]:
    """Recompute the inputs of the down projections of a fused mixture-of-experts layer, expert by expert.

    Neuron ``e·I + j`` is coordinate j of expert e's hidden state; it is 0 for a token that was not routed to expert e.
    The router's weight is applied after the down projection, so it is not part of the activation.

    :param experts: the fused module (``gate_up_proj`` of shape (E, 2I, H), or (E, H, 2I) where ``is_transposed``).
    :param hidden: (B·T, H) input of the layer.
    :param routed: (B·T, k) experts chosen for each token.
    :returns: one item for each expert that any token was routed to.
    """
    for expert in routed.unique().tolist():
        tokens, _ = (routed == expert).nonzero(as_tuple=True)
        weight = experts.gate_up_proj[expert]
        gate_up = hidden[tokens] @ (weight if getattr(experts, "is_transposed", False) else weight.T)
        if getattr(experts, "has_bias", False):
            gate_up = gate_up + experts.gate_up_proj_bias[expert]
        if getattr(experts, "is_concatenated", True):
            up = gate_up[..., gate_up.shape[-1] // 2 :]
        else:
            up = gate_up[..., 1::2]
        yield ExpertTokens(int(expert), tokens, experts._apply_gate(gate_up), up)

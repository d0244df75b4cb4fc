"""Where model families keep their neurons, and whether all of them were found.

A neuron is one coordinate of the input of a feed-forward block's *down projection*. :data:`DOWN_PROJECTIONS` lists what
families call that projection, below a layer of the bare transformer (``AutoModel``). A mixture-of-experts layer stores
the projections of all experts in 3-D parameters: there the experts module itself is the site (:mod:`.experts`).

A model is captured whole or refused: the layers are compared with the configuration's number of layers, and no layer
may hold another projection or expert parameter that looks like part of a feed-forward block.

A neuron's *impact* is the size of its up-projection's output (NAG, Wang et al., arXiv 2604.15706);
:func:`find_up_projection` finds that projection beside the down projection.

To add a family, add the name of its down projection to ``DOWN_PROJECTIONS``, and run ``make sweep``.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nait_index.activations.completeness import (
    OTHER_TOWER,
    find_leftovers,
    in_width,
    is_other_part,
    out_width,
    to_pattern,
)
from nait_index.activations.experts import BOTH_HALVES, count_neurons, holds_experts
from nait_index.errors import ArchitectureError

if TYPE_CHECKING:
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


# Paths below a layer, ``{j}`` for any number. In the comments, families that use no other name.
DOWN_PROJECTIONS = (
    "mlp.down_proj",  # Llama, Mistral, Qwen, Gemma, OLMo, Phi-3, GLM, …
    "mlp.experts",  # Mixtral, Qwen MoE, DeepSeek, GPT-OSS, …
    "mlp.shared_expert.down_proj",
    "mlp.shared_experts.down_proj",
    "mlp.shared_mlp.down_proj",  # HunYuan
    "mlp.text_moe.experts",  # ERNIE 4.5 VL
    "mlp.fc2",  # Phi
    "mlp.c_proj",  # GPT-2
    "mlp.fc_out",  # GPT-J
    "mlp.dense_4h_to_h",  # GPT-NeoX, Falcon, BLOOM
    "mlp.Wo",  # ModernBERT
    "mlp_block.down_proj",  # RecurrentGemma
    "mlps.{j}.down_proj",  # LongCat
    "experts",  # Gemma 4, beside mlp.down_proj
    "feed_forward.down_proj",  # Jamba, Bamba, Falcon-H1
    "feed_forward.w2",  # LFM2
    "feed_forward.experts",  # Jamba, LFM2, Llama 4
    "feed_forward.shared_expert.down_proj",  # Llama 4
    "feed_forward.value",  # RWKV
    "block_sparse_moe.experts",  # Granite
    "shared_mlp.output_linear",  # Granite
    "mixer.down_proj",  # Nemotron-H
    "mixer.experts",
    "mixer.shared_experts.down_proj",
    "shared_transformer.feed_forward.down_proj",  # Zamba 2
    "shared_transf.feed_forward.down_proj",  # Zamba
    "ffn.down_proj",  # MPT
    "ffn.proj_down",  # xLSTM
    "ffn.fc2",  # Kosmos
    "ffn.lin2",  # DistilBERT
    "ffn.2",  # CTRL
    "ffn.ffn.w_out",  # CPM-Ant
    "ffn.{j}.output.dense",  # MobileBERT, beside output.dense
    "fc2",  # OPT, BioGPT, XGLM
    "lin2",  # XLM, Flaubert
    "ff.layer_2",  # XLNet
    "output.dense",  # BERT, RoBERTa, ELECTRA, …
    "layer.{j}.DenseReluDense.wo",  # T5
)

# Down projection → the names that its up-projection may have beside it; the first that exists is taken.
_UP_NAMES = {
    "down_proj": ("up_proj", BOTH_HALVES),
    "fc2": ("fc1",),
    "c_proj": ("c_fc",),
    "dense_4h_to_h": ("dense_h_to_4h",),
    "lin2": ("lin1",),
    "Wo": ("Wi",),
    "wo": ("wi_1", "wi"),
    "w2": ("w3",),
    "fc_out": ("fc_in",),
    "output_linear": ("input_linear",),
    "proj_down": ("proj_up",),
    "layer_2": ("layer_1",),
    "w_out": ("w_in.w_1",),
    "output.dense": ("intermediate.dense",),
}


def find_sites(body: "nn.Module", model_type: str, pattern: str | None = None) -> tuple[Site, ...]:
    """Find every site of a bare transformer, in layer order.

    :param body: the transformer, as ``AutoModel`` returns it.
    :param model_type: the family's name in its configuration, e.g. ``llama``.
    :param pattern: module path with ``{i}`` for the layer number, or several with commas, to be captured instead of
        the feed-forward blocks (``--site``). Then nothing is said of what else the layers hold.
    :raises ArchitectureError: nothing matched, a layer or another part of the feed-forward blocks is not covered, or a
        match is not a projection.
    """
    # A module that several layers share has a path in each of them.
    modules = dict(body.named_modules(remove_duplicate=False))
    if pattern is not None:
        return _sites_of_pattern(modules, model_type, pattern, _layers_of(body))
    stacks = _match_stacks(modules)
    if not stacks:
        raise ArchitectureError(
            f"no feed-forward down projection found in a '{model_type}' model under any known name"
            + _suggestion(modules, _layers_of(body))
        )
    stack = _text_stack(stacks, modules, model_type, _layers_of(body))
    sites = tuple(_to_site(layer, path, modules[path]) for layer, path in stacks[stack])
    widths = {out_width(modules[site.path]) for site in sites if not site.has_experts}
    widths |= {width for width in [getattr(_text_config(body), "hidden_size", None)] if width is not None}
    missed = find_leftovers({site.path for site in sites}, stack, modules, widths)
    if missed:
        raise ArchitectureError(
            f"a '{model_type}' model has feed-forward neurons that would be missed, at "
            + ", ".join(f"'{pattern}'" for pattern in missed[:4])
            + (f" and {len(missed) - 4} more" if missed[4:] else "")
            + "; name all that is to be captured with --site, patterns with commas"
        )
    return sites


def _sites_of_pattern(
    modules: Mapping[str, "nn.Module"], model_type: str, pattern: str, layers: frozenset[int]
) -> tuple[Site, ...]:
    regexes = [_to_regex(part.strip()) for part in pattern.split(",")]
    hits = sorted(
        (int(match[1]), order, path)
        for path in modules
        for order, regex in enumerate(regexes)
        if (match := regex.match(path))
    )
    if not hits:
        raise ArchitectureError(
            f"nothing in a '{model_type}' model has a path like the site pattern '{pattern}'"
            + _suggestion(modules, layers)
        )
    stacks: list[Any] = [modules.get(part.strip().partition(".{i}")[0]) for part in pattern.split(",")]
    count = max([hits[-1][0] + 1, *(len(stack) for stack in stacks if isinstance(stack, Sized))])
    missing = sorted(set(range(count)) - {layer for layer, _, _ in hits})
    if missing:
        raise ArchitectureError(
            f"layers {missing} of this '{model_type}' model have no module at the site pattern '{pattern}'; give one "
            "pattern for each kind of layer, with commas"
        )
    return tuple(_to_site(layer, path, modules[path]) for layer, _, path in hits)


def _to_regex(pattern: str) -> re.Pattern[str]:
    if "{i}" not in pattern:
        raise ArchitectureError(f"site pattern '{pattern}' must contain {{i}} in place of the layer number")
    return re.compile("^" + re.escape(pattern).replace(r"\{i\}", r"(\d+)") + "$")


def _match_stacks(modules: Mapping[str, "nn.Module"]) -> dict[str, list[tuple[int, str]]]:
    """Find the down projections by their names: path of a list of layers → layer and path of each, in order."""
    names = "|".join(re.escape(name).replace(r"\{j\}", r"\d+") for name in DOWN_PROJECTIONS)
    known = re.compile(rf"^((?:[A-Za-z_]\w*\.)*?\w+)\.(\d+)\.(?:{names})$")
    stacks: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for path, module in modules.items():
        if (match := known.match(path)) and not OTHER_TOWER.search(match[1]) and _is_projection(module):
            stacks[match[1]].append((int(match[2]), path))
    return {stack: sorted(hits, key=lambda hit: hit[0]) for stack, hits in stacks.items()}


def _is_projection(module: Any) -> bool:  # noqa: ANN401 - any module
    weight = getattr(module, "weight", None)
    return holds_experts(module) or (weight is not None and weight.dim() == 2)


def _text_config(body: "nn.Module") -> Any:  # noqa: ANN401 - a configuration of transformers
    """Return the configuration of the text model, or ``None`` where there are several."""
    config: Any = body.config
    try:
        return config.get_text_config(encoder=True) if config.is_encoder_decoder else config.get_text_config()
    except ValueError:
        return None


def _layers_of(body: "nn.Module") -> frozenset[int]:
    """Return how many layers a text model may have by its configuration; nothing where that does not say it."""
    text = _text_config(body)
    # LongCat counts every layer twice in the first.
    numbers = (getattr(text, name, None) for name in ("num_hidden_layers", "num_layers"))
    return frozenset(number for number in numbers if isinstance(number, int))


def _text_stack(stacks: Iterable[str], modules: Mapping[str, Any], model_type: str, layers: frozenset[int]) -> str:
    """Choose the list of layers that is the text model: the one with as many layers as the configuration says."""
    lengths = {stack: len(modules[stack]) for stack in stacks}
    fitting = [stack for stack, length in lengths.items() if not layers or length in layers]
    if len(fitting) == 1:
        return fitting[0]
    wanted = " or ".join(map(str, sorted(layers))) if layers else "one list of"
    seen = ", ".join(f"{length} at '{stack}'" for stack, length in lengths.items())
    raise ArchitectureError(
        f"a '{model_type}' model should have {wanted} layers, but those with known feed-forward blocks are {seen}; "
        "name what to capture with --site"
    )


def _suggestion(modules: Mapping[str, Any], layers: frozenset[int]) -> str:
    """Return how to name the neurons by hand, with a path that looks like a down projection where there is one."""
    for path, module in modules.items():
        match = re.match(r"^((?:[A-Za-z_]\w*\.)*?\w+)\.0\.", path)
        if match is None or OTHER_TOWER.search(path) or is_other_part(path, match[1], modules):
            continue
        weight = getattr(module, "weight", None)
        is_down = weight is not None and weight.dim() == 2 and out_width(module) < in_width(module)
        if is_down and len(modules[match[1]]) in layers:
            return f"; name it with --site, for example --site '{to_pattern(path, match[1])}'"
    return "; a path of your choice can be captured with --site"


def _to_site(layer: int, path: str, module: Any) -> Site:  # noqa: ANN401 - any module
    if holds_experts(module) and not hasattr(module, "weight"):
        return Site(layer, path, count_neurons(module, path), has_experts=True)
    weight = getattr(module, "weight", None)
    if weight is None or weight.dim() != 2:
        raise ArchitectureError(
            f"'{path}' ({type(module).__name__}) has no 2-D weight; name the down projection with --site"
        )
    return Site(layer, path, in_width(module))


def find_up_projection(body: "nn.Module", site: Site) -> str | None:
    """Find the path of the up-projection that belongs to a down projection; fused experts have no such module.

    Where one projection computes both halves of a gated block, its second half is meant.

    :raises ArchitectureError: there is none under any known name.
    """
    if site.has_experts:
        return None
    for down, names in _UP_NAMES.items():
        if not site.path.endswith(f".{down}"):
            continue
        parent = site.path.removesuffix(down)
        for name in names:
            # Zamba 2 adds a small projection of each layer to the one that layers share.
            if has_module(body, parent + name) and not has_module(body, f"{parent}{name}_adapter_list"):
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

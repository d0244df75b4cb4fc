"""Weights that would be read wrongly: quantised without a configuration, missing, or left over after loading."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nait_index.activations.folders import read_header, weight_files
from nait_index.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

Tensors = Mapping[str, tuple[str, tuple[int, ...]]]
"""Dtype, as safetensors names it, and shape of every tensor in a model's files."""

_FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
# Of complex numbers, a weight would get the real parts alone.
_NO_FLOATS = frozenset({"I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL", "C64"})
# What quantised models keep beside or instead of a weight.
_QUANTISED = re.compile(
    r"(^|[._])(weight_scale\w*|scale_inv|(weight|input|output|activation|act|k|v|global|smooth|g)_scales?|"
    r"\w*global_scale|scales|qscale\w*|qweight|qzeros|qscales|g_idx|(\w+_)?zero_points?|(\w+_)?absmax|(\w+_)?quant_map|"
    r"quant_state[\w.]*|bitsandbytes__\w+|SCB|weight_format|weight_packed|weight_shape|weight_q|W_q|codebooks|"
    r"\w+_blocks|\w+_scales)$"
)
# A name that begins like a quantised weight's, and ends in one of these, is what that weight is scaled by.
_BESIDE = re.compile(rf"[._]\w*scale|{_QUANTISED.pattern}")
# What old checkpoints hold of causal masks and rotary positions; models compute these themselves.
_COMPUTED = re.compile(r"(inv_freq|\.masked_bias|position_ids|rotary_emb\.\w+|causal_mask|relative_position_index)$")
_MASK = re.compile(r"\.(attn|attention|crossattention)\.bias$")
_NEXT_TOKENS = re.compile(r"\.(eh_proj|enorm|hnorm|shared_head|mtp\w*|nextn\w*)(\.|$)")
"""Layers that predict several tokens ahead: training and fast decoding use them, a forward pass does not."""


def read_tensors(folder: Path | None) -> Tensors:
    """Read what the files of weights in a folder hold; files that are not there are passed over."""
    tensors: dict[str, tuple[str, tuple[int, ...]]] = {}
    for file in weight_files(folder) if folder else ():
        if file.is_file():
            tensors |= read_header(file)
    return tensors


def check_plain(name: str, tensors: Tensors, settings: Any) -> None:  # noqa: ANN401 - a configuration of transformers
    """Refuse weights that are quantised where no configuration or no scale belongs to them.

    They would be read as plain numbers.

    :param name: of the model.
    :raises ModelError: names one of them.
    """
    packed = [key for key, (dtype, _) in tensors.items() if dtype not in _FLOATS | _NO_FLOATS]
    whole = [key for key, (dtype, _) in tensors.items() if dtype in _NO_FLOATS and key.endswith((".weight", "_proj"))]
    if is_quantised(name, settings):
        marks = [key[: mark.start()] for key in tensors if (mark := _BESIDE.search(key))]
        scaled = {*marks, *(mark.rpartition(".")[0] for mark in marks)}
        numbers = [key for key in packed + whole if key.endswith((".weight", "_proj"))]
        if bare := sorted(key for key in numbers if not scaled & {key, key.rpartition(".")[0]}):
            raise ModelError(
                f"the weights of model '{name}' are quantised, but no scale lies beside {bare[0]}, which is stored as "
                f"{tensors[bare[0]][0]}; download or copy the whole model again"
            )
    elif packed or whole:
        first = min(packed or whole)
        raise ModelError(_refusal(name, f"{first} is stored as {tensors[first][0]}"))


def is_quantised(name: str, settings: Any) -> bool:  # noqa: ANN401
    """Report whether a configuration says how its weights are quantised.

    :raises ModelError: it says so in a way that transformers would pass over.
    """
    text = settings.get_text_config() if hasattr(settings, "get_text_config") else settings
    quantisation = getattr(settings, "quantization_config", None) or getattr(text, "quantization_config", None)
    if quantisation is None:
        return False
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    record = quantisation if isinstance(quantisation, dict) else quantisation.to_dict()
    method = record.get("quant_method")
    of_bits = record.get("load_in_8bit") or record.get("load_in_4bit")
    if not of_bits and str(getattr(method, "value", method)) not in AUTO_QUANTIZATION_CONFIG_MAPPING:
        raise ModelError(
            f"model '{name}' is quantised in a way that this version of transformers does not know ({method}); upgrade "
            "transformers, or name the model that is not quantised"
        )
    return True


def check_complete(path: str, report: dict[str, Any], causal: bool) -> None:
    """Refuse a model with randomly initialised parts; a bare transformer uses no pooler, so that may be missing."""
    missing = sorted(key for key in report["missing_keys"] if causal or "pooler" not in key)
    if missing:
        more = f" and {len(missing) - 1} more parameters" if missing[1:] else ""
        consequence = (
            "what it predicts would be random: save it as a causal language model, with its head, or name another "
            "with --model"
            if causal
            else "its neurons would be random numbers"
        )
        others = min((key for key in report["unexpected_keys"] if key.endswith(missing[0])), default=None)
        instead = f" (there is {others} instead)" if others else ""
        raise ModelError(f"model '{path}' lacks the weights of {missing[0]}{instead}{more}; {consequence}")
    if report.get("mismatched_keys"):
        first, stored, expected = min(report["mismatched_keys"])
        raise ModelError(
            f"weights of model '{path}' do not fit its config.json: {first} is {tuple(stored)}, not {tuple(expected)}; "
            "restore the config.json that belongs to them"
        )


def check_used(name: str, tensors: Tensors, unexpected: Iterable[str], module: "nn.Module", settings: Any) -> None:  # noqa: ANN401
    """Refuse a model that did not take all weights of its layers. Heads, poolers and other towers may be left over.

    :param tensors: what the files hold. :param unexpected: names of the tensors that the loaded model had no place for.
    :raises ModelError: names one of them.
    """
    quantised = is_quantised(name, settings)
    if not quantised:
        _check_numbers(name, tensors, unexpected, module.state_dict())
    leftover = sorted(key for key in unexpected if not _is_harmless(key, tensors))
    body = _Body(module)
    next_tokens = {body.layer_of(key) for key in unexpected if _NEXT_TOKENS.search(key)} - {None}
    for key in leftover:
        layer = body.layer_of(key)
        if layer in next_tokens:
            continue
        if layer is not None and layer[1] >= body.lists[layer[0]]:
            raise ModelError(
                f"model '{name}' has weights of layer {layer[1]}, but by its config.json only {body.lists[layer[0]]} "
                f"layers ({key}); restore the config.json that belongs to the weights"
            )
        # Quantised layers hold more than weights, which each method calls something else.
        if not quantised and (layer is not None or body.has_parent(key)):
            raise ModelError(
                f"model '{name}' has weights that its config.json has no place for: {key}; restore the config.json "
                "that belongs to the weights, or name another model"
            )


def _check_numbers(name: str, tensors: Tensors, unexpected: Iterable[str], known: Mapping[str, Any]) -> None:
    """Refuse scales, and parameters that were stored as other numbers, in a model that is not quantised."""
    endings = {ending for key in known for ending in _endings(key)}
    scales = [key for key in {*tensors, *unexpected} if _QUANTISED.search(key) and not endings & set(_endings(key, 2))]
    if scales:
        raise ModelError(_refusal(name, f"there is {min(scales)}"))
    for key, (dtype, _) in tensors.items():
        loaded = next((known[ending] for ending in _endings(key) if ending in known), None)
        if dtype in _NO_FLOATS and loaded is not None and loaded.is_floating_point():
            raise ModelError(_refusal(name, f"{key} is stored as {dtype}"))


def _refusal(name: str, evidence: str) -> str:
    return (
        f"the weights of model '{name}' are quantised ({evidence}), but its config.json has no quantization_config, so "
        "they would be read as plain numbers; restore the config.json that belongs to them, or name the model that is "
        "not quantised"
    )


def _endings(key: str, shortest: int = 1) -> list[str]:
    """Return the endings of a dotted name, the whole name first, each of at least some parts."""
    parts = key.split(".")
    return [".".join(parts[start:]) for start in range(max(1, len(parts) - shortest + 1))]


def _is_harmless(key: str, tensors: Tensors) -> bool:
    """Decide whether a tensor that was left over is one that models compute themselves."""
    shape = tensors[key][1] if key in tensors else ()
    return bool(_COMPUTED.search(key)) or (bool(_MASK.search(key)) and len(shape) != 1)


class _Body:
    """The lists of layers and the modules of a loaded model; ``lists`` holds the length of each by its path.

    A bare transformer is saved as a part of a whole model, so paths are compared without the names of such parts.
    """

    def __init__(self, module: "nn.Module") -> None:
        from torch import nn

        self._wrappers = {"model", "transformer", "module", "base_model", getattr(module, "base_model_prefix", "")}
        named = [(self._bare(path), part) for path, part in module.named_modules() if path]
        self._with_weights = {path for path, part in named if next(part.parameters(recurse=False), None) is not None}
        self.lists = {path: len(part) for path, part in named if isinstance(part, nn.ModuleList)}

    def layer_of(self, key: str) -> tuple[str, int] | None:
        """Return the list of layers and the number of the layer that a tensor would belong to."""
        for match in re.finditer(r"\.(\d+)\.", key):
            path = self._bare(key[: match.start()])
            if path in self.lists:
                return path, int(match[1])
        return None

    def has_parent(self, key: str) -> bool:
        """Report whether the module that a weight or bias would belong to is there, with other weights."""
        parent, _, last = key.rpartition(".")
        return last in ("weight", "bias") and self._bare(parent) in self._with_weights

    def _bare(self, path: str) -> str:
        return ".".join(part for part in path.split(".") if part not in self._wrappers)

"""The two file formats of sparse autoencoders that are understood: ``cfg.json`` beside one safetensors file.

==========  =============================  ==============================================================
format      file                           tensors
==========  =============================  ==============================================================
sparsify    ``sae.safetensors``            ``encoder.weight`` (F, H), ``encoder.bias``, ``W_dec`` (F, H), ``b_dec``
SAELens     ``sae_weights.safetensors``    ``W_enc`` (H, F), ``b_enc``, ``W_dec`` (F, H), ``b_dec``, ``threshold``
==========  =============================  ==============================================================

Whatever a file asks for that is not computed here (a skip connection, a gate, an activation norm) is refused, never
left out. In sparsify the name of the folder is the path of the module whose output is read; ``nait-index sae train``
also writes it into ``cfg.json`` as ``hookpoint``, which sparsify passes over.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nait_index.activations.sae.autoencoder import SaeSite, SaeSiteKind, SparseAutoencoder
from nait_index.errors import ModelError

if TYPE_CHECKING:
    import torch

FEED_FORWARD = ("mlp", "ffn", "feed_forward", "DenseReluDense")
"""Names of the feed-forward module in a layer, over all families."""

_HOOK = re.compile(r"blocks\.(\d+)\.(hook_resid_post|hook_resid_pre|hook_mlp_out)")
_MODULE = re.compile(r"(?:[A-Za-z_]\w*\.)+?(\d+)(?:\.(.+))?")


def read_sparsify(folder: Path) -> SparseAutoencoder:
    """Read a folder of EleutherAI's sparsify.

    :raises ModelError: it is damaged, or a transcoder, or activates in another way than by its k largest latents.
    """
    config = _read_config(folder)
    _require(folder, config, {"transcode": False, "skip_connection": False, "signed": False, "activation": "topk"})
    tensors = _read_tensors(folder / "sae.safetensors", {"encoder.weight", "encoder.bias", "W_dec", "b_dec"}, set())
    name = config.get("hookpoint") or (folder.parent.name if folder.name.startswith("seed") else folder.name)
    weights = {
        "encoder": tensors["encoder.weight"],
        "encoder_bias": tensors["encoder.bias"],
        "pre_bias": tensors["b_dec"],
        "decoder": tensors["W_dec"],
        "decoder_bias": tensors["b_dec"],
    }
    return SparseAutoencoder.of(_module_site(folder, str(name)), weights, k=_whole(folder, config, "k"))


def write_sparsify(folder: Path, sae: SparseAutoencoder, hookpoint: str) -> None:
    """Write a sparse autoencoder into a folder as sparsify does.

    :param hookpoint: path of the module in the model body whose output it reads.
    """
    from safetensors.torch import save_file

    tensors = {
        "encoder.weight": sae.encoder,
        "encoder.bias": sae.encoder_bias,
        "W_dec": sae.decoder,
        "b_dec": sae.decoder_bias,
    }
    save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, folder / "sae.safetensors")
    config = {
        "activation": "topk",
        "expansion_factor": max(1, sae.latents // sae.d_in),
        "normalize_decoder": True,
        "num_latents": sae.latents,
        "k": sae.k,
        "multi_topk": False,
        "skip_connection": False,
        "transcode": False,
        "d_in": sae.d_in,
        "hookpoint": hookpoint,
    }
    (folder / "cfg.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def read_saelens(folder: Path) -> SparseAutoencoder:
    """Read a folder of SAELens, of version 6 or before.

    :raises ModelError: it is damaged, its architecture is none of standard, topk and jumprelu, or it wants its input
        normalised.
    """
    config = _flat(_read_config(folder))
    architecture = _architecture(folder, config)
    tensors = _read_tensors(
        folder / "sae_weights.safetensors",
        {"W_enc", "b_enc", "W_dec", "b_dec"},
        {"scaling_factor"} | ({"threshold", "log_threshold"} if architecture == "jumprelu" else set()),
    )
    _check_scaling(folder, tensors)
    bias = tensors["b_dec"].float()
    weights = {
        "encoder": tensors["W_enc"].float().T,
        "encoder_bias": tensors["b_enc"].float(),
        "pre_bias": bias if config.get("apply_b_dec_to_input", True) else bias * 0,
        "decoder": tensors["W_dec"].float(),
        "decoder_bias": bias,
    }
    if architecture == "topk" and config.get("rescale_acts_by_decoder_norm"):
        weights = _fold_norms(weights)
    k = _whole(folder, config, "k") if architecture == "topk" else None
    threshold = _threshold(folder, tensors) if architecture == "jumprelu" else None
    return SparseAutoencoder.of(_hook_site(folder, str(config.get("hook_name"))), weights, k=k, threshold=threshold)


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Bring the names of all versions of SAELens to one level, and to those of version 6."""
    flat = {**(config.get("metadata") or {}), **config}
    old = {"hook_point": "hook_name", "hook_point_head_index": "hook_head_index", "activation_fn_str": "activation_fn"}
    flat |= {new: flat[name] for name, new in old.items() if name in flat}
    chosen = flat.get("activation_fn_kwargs") or {}
    if flat.get("activation_fn") == "topk" and chosen.get("k") is not None:
        flat |= {"architecture": "topk", "k": chosen["k"], "activation_fn": None}
    return flat


def _architecture(folder: Path, config: Mapping[str, Any]) -> str:
    """Tell the architecture, and refuse what would change the codes and is not computed."""
    architecture = str(config.get("architecture", "standard"))
    if architecture not in ("standard", "topk", "jumprelu"):
        raise ModelError(
            f"{folder}: a sparse autoencoder of architecture '{architecture}' is not understood; take one of standard, "
            "topk or jumprelu"
        )
    centered = (config.get("model_from_pretrained_kwargs") or {}).get("center_writing_weights")
    if centered:
        raise ModelError(
            f"{folder}: made for a model whose weights TransformerLens had centred (center_writing_weights), so that "
            "its activations are not those of the model as it is; take another one"
        )
    optional = {"activation_fn": "relu", "normalize_activations": "none", "reshape_activations": "none"}
    # Version 5 wrote False for no normalisation, and every version leaves out or nulls what does not apply.
    _require(folder, {name: config.get(name) or own for name, own in optional.items()}, optional)
    _require(folder, config, {"hook_head_index": None, "finetuning_scaling_factor": False})
    return architecture


def _fold_norms(weights: Mapping[str, "torch.Tensor"]) -> dict[str, "torch.Tensor"]:
    """Move the length of each decoder row into the encoder: the k largest are told by latents scaled so."""
    norms = weights["decoder"].norm(dim=1)
    return {
        **weights,
        "encoder": weights["encoder"] * norms[:, None],
        "encoder_bias": weights["encoder_bias"] * norms,
        "decoder": weights["decoder"] / norms.clamp(min=1e-8)[:, None],
    }


def _threshold(folder: Path, tensors: Mapping[str, "torch.Tensor"]) -> "torch.Tensor":
    if "log_threshold" in tensors:
        return tensors["log_threshold"].float().exp()
    if "threshold" not in tensors:
        raise ModelError(f"{folder}: architecture jumprelu without a tensor 'threshold'; the file is not whole")
    return tensors["threshold"]


def _check_scaling(folder: Path, tensors: Mapping[str, "torch.Tensor"]) -> None:
    if "scaling_factor" in tensors and not (tensors["scaling_factor"] == 1).all():
        raise ModelError(f"{folder}: has a scaling_factor other than 1, which is not understood; fold it in first")


def _hook_site(folder: Path, name: str) -> SaeSite:
    """Understand a hook of TransformerLens, or the path of a module where SAELens ran the plain model."""
    found = _HOOK.fullmatch(name)
    if found is None:
        return _module_site(folder, name)
    layer, hook = int(found[1]), found[2]
    if hook == "hook_mlp_out":
        return SaeSite(layer, SaeSiteKind.MLP_ADDED)
    # What enters a layer is what left the one before.
    layer -= hook == "hook_resid_pre"
    if layer < 0:
        raise ModelError(f"{folder}: reads the embeddings ('{name}'), before any layer; take one of a later layer")
    return SaeSite(layer, SaeSiteKind.RESIDUAL)


def _module_site(folder: Path, name: str) -> SaeSite:
    found = _MODULE.fullmatch(name)
    if found is not None and found[2] is None:
        return SaeSite(int(found[1]), SaeSiteKind.RESIDUAL)
    if found is not None and found[2].rpartition(".")[2] in FEED_FORWARD:
        return SaeSite(int(found[1]), SaeSiteKind.MLP)
    raise ModelError(
        f"{folder}: '{name}' is no known place of a sparse autoencoder; wanted the output of a layer or of its "
        "feed-forward module, such as 'layers.10', 'layers.10.mlp' or 'blocks.10.hook_resid_post'"
    )


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "cfg.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder / 'cfg.json'}: cannot be read ({error})") from error
    if not isinstance(config, dict):
        raise ModelError(f"{folder / 'cfg.json'}: is no JSON object")
    return config


def _read_tensors(path: Path, needed: set[str], optional: set[str]) -> "dict[str, torch.Tensor]":
    """Read a safetensors file, and refuse it unless it holds just what is known."""
    from safetensors.torch import load_file

    try:
        tensors: dict[str, torch.Tensor] = load_file(path)
    except Exception as error:  # safetensors raises its own, unrelated class for a damaged file
        raise ModelError(f"{path}: cannot be read ({type(error).__name__}: {error})") from error
    if missing := sorted(needed - set(tensors)):
        raise ModelError(f"{path}: lacks {', '.join(missing)}")
    if unknown := sorted(set(tensors) - needed - optional):
        raise ModelError(f"{path}: holds {', '.join(unknown)}, which this kind of sparse autoencoder does not have")
    return tensors


def _require(folder: Path, config: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse a setting other than the one that is computed; a setting that is absent has that value."""
    for name, own in wanted.items():
        if config.get(name, own) != own:
            raise ModelError(f"{folder / 'cfg.json'}: {name} is {config[name]!r}; only {own!r} is understood")


def _whole(folder: Path, config: Mapping[str, Any], name: str) -> int:
    value = config.get(name)
    if type(value) is not int:
        raise ModelError(f"{folder / 'cfg.json'}: {name} is {value!r}, wanted a whole number")
    return value

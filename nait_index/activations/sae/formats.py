"""Read and write sparse autoencoders: ``cfg.json`` beside one safetensors file, in either of two formats.

==========  =============================  ==============================================================
format      file                           tensors
==========  =============================  ==============================================================
sparsify    ``sae.safetensors``            ``encoder.weight`` (F, H), ``encoder.bias``, ``W_dec`` (F, H), ``b_dec``
SAELens     ``sae_weights.safetensors``    ``W_enc`` (H, F), ``b_enc``, ``W_dec`` (F, H), ``b_dec``, ``threshold``
==========  =============================  ==============================================================

A file that asks for something that is not computed here (a skip connection, a gate, an activation norm) is refused;
nothing is silently ignored. In sparsify, the name of the folder is the path of the module whose output is read;
``nait-index sae train`` also writes it into ``cfg.json`` as ``hookpoint``, which sparsify ignores.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nait_index.activations.sae.autoencoder import SparseAutoencoder
from nait_index.activations.sae.sites import parse_hook, parse_module
from nait_index.errors import ModelError

if TYPE_CHECKING:
    import torch

_SPARSIFY, _SAELENS = "sae.safetensors", "sae_weights.safetensors"
_SPARSIFY_NAMES = {
    "encoder": "encoder.weight",
    "encoder_bias": "encoder.bias",
    "decoder": "W_dec",
    "decoder_bias": "b_dec",
}


def load_sae(path: str | Path) -> SparseAutoencoder:
    """Load a sparse autoencoder from a folder of EleutherAI's ``sparsify`` or of SAELens.

    :param path: the folder with ``cfg.json``, or a folder above it that contains no other ``cfg.json``.
    :raises ModelError: there is none, there are several, or it is of an unsupported kind.
    """
    folder = _find_folder(Path(path))
    for name, read in {_SPARSIFY: _read_sparsify, _SAELENS: _read_saelens}.items():
        if (folder / name).is_file():
            try:
                return read(folder, _read_config(folder))
            except ModelError as error:
                raise ModelError(f"{folder}: {error}") from error
    raise ModelError(
        f"{folder} holds neither {_SPARSIFY} (sparsify) nor {_SAELENS} (SAELens), so there are no weights to read"
    )


def _find_folder(path: Path) -> Path:
    """Find the one folder with ``cfg.json``: this one or one below it."""
    if not path.is_dir():
        raise ModelError(
            f"no folder at {path}; give the folder of a sparse autoencoder, or train one: nait-index sae train"
        )
    if (path / "cfg.json").is_file():
        return path
    folders = sorted(str(config.parent.relative_to(path)) for config in path.rglob("cfg.json"))
    if not folders:
        raise ModelError(f"{path} holds no cfg.json, so it is not a sparse autoencoder of sparsify or SAELens")
    if folders[1:]:
        raise ModelError(f"{path} holds {len(folders)} sparse autoencoders; name one of them: {', '.join(folders[:8])}")
    return path / folders[0]


def _read_sparsify(folder: Path, config: Mapping[str, Any]) -> SparseAutoencoder:
    """Read a folder of EleutherAI's sparsify.

    :raises ModelError: it is damaged, a transcoder, or has another activation than the k largest latents.
    """
    _require(config, {"transcode": False, "skip_connection": False, "signed": False, "activation": "topk"})
    tensors = _read_tensors(folder / _SPARSIFY, set(_SPARSIFY_NAMES.values()), set())
    name = config.get("hookpoint") or (folder.parent.name if folder.name.startswith("seed") else folder.name)
    weights = {field: tensors[stored] for field, stored in _SPARSIFY_NAMES.items()} | {"pre_bias": tensors["b_dec"]}
    return SparseAutoencoder.of(parse_module(str(name)), weights, k=_whole(config, "k"))


def write_sparsify(folder: Path, sae: SparseAutoencoder, hookpoint: str) -> None:
    """Write a sparse autoencoder into a folder in the format of sparsify.

    :param hookpoint: path of the module in the bare transformer whose output it reads.
    """
    from safetensors.torch import save_file

    tensors = {stored: getattr(sae, field).cpu().contiguous() for field, stored in _SPARSIFY_NAMES.items()}
    save_file(tensors, folder / _SPARSIFY)
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


def _read_saelens(folder: Path, config: Mapping[str, Any]) -> SparseAutoencoder:
    """Read a folder of SAELens, up to version 6.

    :raises ModelError: it is damaged, its architecture is not standard, topk or jumprelu, or it needs a normalised
        input.
    """
    config = _flat(config)
    architecture = _architecture(config)
    optional = {"scaling_factor"} | ({"threshold", "log_threshold"} if architecture == "jumprelu" else set())
    tensors = _read_tensors(folder / _SAELENS, {"W_enc", "b_enc", "W_dec", "b_dec"}, optional)
    if "scaling_factor" in tensors and not (tensors["scaling_factor"] == 1).all():
        raise ModelError("has a scaling_factor other than 1; fold it into the weights first")
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
    k = _whole(config, "k") if architecture == "topk" else None
    threshold = _threshold(tensors) if architecture == "jumprelu" else None
    site = parse_hook(str(config.get("hook_name")))
    return SparseAutoencoder.of(site, weights, k=k, threshold=threshold)


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten the settings of any version of SAELens, under the names of version 6."""
    flat = {**(config.get("metadata") or {}), **config}
    renamed = {
        "hook_point": "hook_name",
        "hook_point_head_index": "hook_head_index",
        "activation_fn_str": "activation_fn",
    }
    flat |= {new: flat[old] for old, new in renamed.items() if old in flat}
    arguments = flat.get("activation_fn_kwargs") or {}
    if flat.get("activation_fn") == "topk" and arguments.get("k") is not None:
        flat |= {"architecture": "topk", "k": arguments["k"], "activation_fn": None}
    return flat


def _architecture(config: Mapping[str, Any]) -> str:
    """Return the architecture, and refuse settings that would change the codes and are not computed here."""
    architecture = str(config.get("architecture", "standard"))
    if architecture not in ("standard", "topk", "jumprelu"):
        raise ModelError(
            f"sparse autoencoders of architecture '{architecture}' are not supported; use one of architecture "
            "standard, topk or jumprelu"
        )
    if (config.get("model_from_pretrained_kwargs") or {}).get("center_writing_weights"):
        raise ModelError(
            "made for a model whose weights TransformerLens had centred (center_writing_weights), so its activations "
            "differ from those of the original model; use another one"
        )
    optional = {"activation_fn": "relu", "normalize_activations": "none", "reshape_activations": "none"}
    # Version 5 wrote False for no normalisation, and every version omits or nulls what does not apply.
    _require({name: config.get(name) or default for name, default in optional.items()}, optional)
    _require(config, {"hook_head_index": None, "finetuning_scaling_factor": False})
    return architecture


def _fold_norms(weights: Mapping[str, "torch.Tensor"]) -> dict[str, "torch.Tensor"]:
    """Move the norm of each decoder row into the encoder: latents so scaled decide which k are the largest."""
    norms = weights["decoder"].norm(dim=1)
    return {
        **weights,
        "encoder": weights["encoder"] * norms[:, None],
        "encoder_bias": weights["encoder_bias"] * norms,
        "decoder": weights["decoder"] / norms.clamp(min=1e-8)[:, None],
    }


def _threshold(tensors: Mapping[str, "torch.Tensor"]) -> "torch.Tensor":
    if "log_threshold" in tensors:
        return tensors["log_threshold"].float().exp()
    if "threshold" not in tensors:
        raise ModelError("architecture jumprelu without a tensor 'threshold'; the file is incomplete")
    return tensors["threshold"]


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "cfg.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"cfg.json cannot be read ({error})") from error
    if not isinstance(config, dict):
        raise ModelError("cfg.json is not a JSON object")
    return config


def _read_tensors(path: Path, needed: set[str], optional: set[str]) -> "dict[str, torch.Tensor]":
    """Read a safetensors file, and refuse it unless it contains just the tensors that are expected."""
    from safetensors.torch import load_file

    try:
        tensors: dict[str, torch.Tensor] = load_file(path)
    except Exception as error:  # safetensors raises its own, unrelated class for a damaged file
        raise ModelError(f"{path.name} cannot be read ({type(error).__name__}: {error})") from error
    if missing := sorted(needed - set(tensors)):
        raise ModelError(f"{path.name} lacks {', '.join(missing)}")
    if unknown := sorted(set(tensors) - needed - optional):
        raise ModelError(f"{path.name} holds {', '.join(unknown)}, which this kind of sparse autoencoder does not have")
    return tensors


def _require(config: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Refuse any setting that differs from the only supported value; an absent setting has that value."""
    for name, supported in expected.items():
        if config.get(name, supported) != supported:
            raise ModelError(f"{name} is {config[name]!r} in cfg.json; only {supported!r} is supported")


def _whole(config: Mapping[str, Any], name: str) -> int:
    value = config.get(name)
    if type(value) is not int:
        raise ModelError(f"{name} is {value!r} in cfg.json, expected a whole number")
    return value

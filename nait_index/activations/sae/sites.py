"""Where in a model a sparse autoencoder sits: understood from the names in its files, and found in the model."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from nait_index.activations.families import Site, has_module
from nait_index.errors import ArchitectureError, ModelError

if TYPE_CHECKING:
    from torch import nn

_HOOK = re.compile(r"blocks\.(\d+)\.(hook_resid_post|hook_resid_pre|hook_mlp_out)")
_MODULE = re.compile(r"(?:[A-Za-z_]\w*\.)+?(\d+)(?:\.(.+))?")

# Names of the feed-forward module in a layer, over all families.
_FEED_FORWARD = ("mlp", "ffn", "feed_forward", "DenseReluDense")
# Families without a module around the feed-forward block: there, the output of its last projection is the block's.
_LAST_PROJECTIONS = ("fc2", "output.dense")
_POST_NORM = "post_feedforward_layernorm"


class SaeSiteKind(StrEnum):
    """Which activation of a layer a sparse autoencoder reads.

    ``RESIDUAL`` is the residual stream after the layer. ``MLP`` is the output of the feed-forward module;
    ``MLP_ADDED`` is what is finally added to the stream, which differs where a norm follows that module (Gemma 2).
    """

    RESIDUAL = "residual"
    MLP = "mlp"
    MLP_ADDED = "mlp_added"


@dataclass(frozen=True, slots=True)
class SaeSite:
    """The site of a sparse autoencoder: the number of the layer, and which activation of it."""

    layer: int
    kind: SaeSiteKind


def parse_hook(name: str) -> SaeSite:
    """Parse a hook name of TransformerLens, or the path of a module where SAELens ran the plain model.

    :raises ModelError: the name is not a known site, or is before the first layer.
    """
    match = _HOOK.fullmatch(name)
    if match is None:
        return parse_module(name)
    layer, hook = int(match[1]), match[2]
    if hook == "hook_mlp_out":
        return SaeSite(layer, SaeSiteKind.MLP_ADDED)
    # The input of a layer is the output of the previous one.
    layer -= hook == "hook_resid_pre"
    if layer < 0:
        raise ModelError(f"it reads the embeddings ('{name}'), before any layer; use one of a later layer")
    return SaeSite(layer, SaeSiteKind.RESIDUAL)


def parse_module(name: str) -> SaeSite:
    """Parse the path of a module whose output is read.

    :raises ModelError: it is neither a layer nor its feed-forward module.
    """
    match = _MODULE.fullmatch(name)
    if match is not None and match[2] is None:
        return SaeSite(int(match[1]), SaeSiteKind.RESIDUAL)
    if match is not None and match[2].rpartition(".")[2] in _FEED_FORWARD:
        return SaeSite(int(match[1]), SaeSiteKind.MLP)
    raise ModelError(
        f"'{name}' is not a known site of a sparse autoencoder; expected the output of a layer or of its feed-forward "
        "module, such as 'layers.10', 'layers.10.mlp' or 'blocks.10.hook_resid_post'"
    )


def site_module(sites: Sequence[Site], site: SaeSite, body: "nn.Module") -> str:
    """Find the module whose output is the activation at a sparse autoencoder's site.

    :param sites: the model's down projections, in any of its layers; the paths of its layers are derived from them.
    :param body: the bare transformer.
    :returns: the path of the module.
    :raises ArchitectureError: the model has no such module.
    """
    layer, projection = _split(sites[0], site.layer)
    if not has_module(body, layer):
        raise ArchitectureError(
            f"this model has no module '{layer}', whose output the sparse autoencoder reads; it was made for another "
            "model"
        )
    if site.kind is SaeSiteKind.RESIDUAL:
        return layer
    if site.kind is SaeSiteKind.MLP_ADDED and has_module(body, f"{layer}.{_POST_NORM}"):
        return f"{layer}.{_POST_NORM}"
    names = projection.split(".")
    depth = next((depth for depth, name in enumerate(names, start=1) if name in _FEED_FORWARD), None)
    if depth is not None:
        return ".".join([layer, *names[:depth]])
    in_layer = [other for other in sites if other.layer == sites[0].layer]
    if projection not in _LAST_PROJECTIONS or len(in_layer) > 1:
        raise ArchitectureError(f"no module of layer {site.layer} is known to output its feed-forward part")
    return f"{layer}.{projection}"


def _split(site: Site, layer: int) -> tuple[str, str]:
    """Split a site's path into the path of its layer, renumbered to ``layer``, and the path within the layer."""
    names = site.path.split(".")
    if str(site.layer) not in names:
        raise ArchitectureError(f"the path '{site.path}' does not show where the layers of this model are")
    position = names.index(str(site.layer))
    return ".".join([*names[:position], str(layer)]), ".".join(names[position + 1 :])

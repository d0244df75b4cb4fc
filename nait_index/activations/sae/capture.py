"""Codes of a sparse autoencoder, averaged over a sample's tokens: z̄ = (1/T)·Σ_t z(h_t) (MONA, arXiv 2503.15573)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nait_index.activations.architectures import Site
from nait_index.activations.sae.autoencoder import SaeSite, SaeSiteKind, SparseAutoencoder
from nait_index.activations.sae.formats import FEED_FORWARD
from nait_index.errors import ArchitectureError, ModelError

if TYPE_CHECKING:
    import torch
    from torch import nn

# Numbers in the dense codes of one chunk of tokens: 128 MiB.
_CHUNK = 2**25

_POST_NORM = "post_feedforward_layernorm"
# Families without a module around the feed-forward block: there its last projection gives what the block does.
_BARE = ("fc2", "output.dense")


def mean_codes(hidden: "torch.Tensor", mask: "torch.Tensor", sae: SparseAutoencoder) -> "torch.Tensor":
    """Average the codes of each sample's own tokens, a chunk of tokens at a time.

    :param hidden: (B, T, H) activations at the autoencoder's site; :param mask: (B, T), 0 for padding.
    :returns: (B, F) float32. What is not finite in one sample stays in that sample.
    :raises ModelError: the activations are not of the width that the autoencoder reads.
    """
    import torch

    if hidden.shape[-1] != sae.d_in:
        raise ModelError(
            f"the sparse autoencoder reads activations of width {sae.d_in}, this model's have {hidden.shape[-1]}; it "
            "was made for another model"
        )
    sae = sae.to(hidden.device)
    total = torch.zeros(len(hidden), sae.latents, device=hidden.device)
    rows, places = mask.nonzero(as_tuple=True)
    size = max(1, _CHUNK // sae.latents)
    for own_rows, own_places in zip(rows.split(size), places.split(size), strict=True):
        codes = sae.codes(hidden[own_rows, own_places])
        which, counts = own_rows.unique_consecutive(return_counts=True)
        # Not index_add_, whose order of summing is left to chance on a GPU.
        for row, part in zip(which.tolist(), codes.split(counts.tolist()), strict=True):
            total[row] += part.sum(dim=0)
    return total / mask.sum(dim=1, keepdim=True)


def sae_module(sites: Sequence[Site], sae: SparseAutoencoder, body: "nn.Module | None" = None) -> str:
    """Give the path of the module whose output a sparse autoencoder reads.

    :param body: the model; with it the layer is known to exist, and a norm after the feed-forward module to be there.
    """
    return site_module(sites, sae.site, body)


def site_module(sites: Sequence[Site], place: SaeSite, body: "nn.Module | None" = None) -> str:
    """Give the path of the module whose output is the activation at a place.

    :param sites: of the model's down projections, any layers of it; the paths of its layers are told from them.
    :raises ArchitectureError: the model has no such module.
    """
    prefix, rest = _split(sites[0], place.layer)
    own = [_split(site, place.layer)[1] for site in sites if site.layer == sites[0].layer]
    layer = prefix if body is None else _existing(body, prefix)
    if place.kind is SaeSiteKind.RESIDUAL:
        return layer
    if place.kind is SaeSiteKind.MLP_ADDED and body is not None and hasattr(body.get_submodule(layer), _POST_NORM):
        return f"{layer}.{_POST_NORM}"
    names = rest.split(".")
    block = next((at for at, name in enumerate(names) if name in FEED_FORWARD), None)
    if block is not None:
        return f"{layer}." + ".".join(names[: block + 1])
    if rest not in _BARE or own[1:]:
        raise ArchitectureError(
            f"no module of layer {place.layer} is known to give the output of its feed-forward part"
        )
    return f"{layer}.{rest}"


def _split(site: Site, layer: int) -> tuple[str, str]:
    """Give the path of a layer, and the site's path within its own layer."""
    names = site.path.split(".")
    if str(site.layer) not in names:
        raise ArchitectureError(f"the layers of this model cannot be told from the path '{site.path}'")
    at = names.index(str(site.layer))
    return ".".join([*names[:at], str(layer)]), ".".join(names[at + 1 :])


def _existing(body: "nn.Module", path: str) -> str:
    try:
        body.get_submodule(path)
    except AttributeError:
        raise ArchitectureError(
            f"this model has no module '{path}', whose output the sparse autoencoder reads; it was made for another one"
        ) from None
    return path

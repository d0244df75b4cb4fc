"""A sparse autoencoder, read from disk, and where in the model it sits.

    z(h) = σ(W_enc (h − b_pre) + b_enc),    ĥ = z(h) W_dec + b_dec

h is a token's activation at the autoencoder's site. σ is TopK(ReLU(·)), which keeps the k largest (Gao et al. 2024,
arXiv 2406.04093); ReLU alone; or JumpReLU, which keeps what exceeds a threshold of each latent's own (Rajamanoharan et
al. 2024, arXiv 2407.14435). All three give codes that are never negative. The files are understood by
:mod:`nait_index.activations.sae.formats`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from nait_index.errors import ModelError

if TYPE_CHECKING:
    import torch


class SaeSiteKind(StrEnum):
    """What of a layer a sparse autoencoder reads.

    ``RESIDUAL`` is the residual stream after the layer. ``MLP`` is the output of the feed-forward module;
    ``MLP_ADDED`` what is added to the stream in the end, which differs where a norm follows that module (Gemma 2).
    """

    RESIDUAL = "residual"
    MLP = "mlp"
    MLP_ADDED = "mlp_added"


@dataclass(frozen=True, slots=True)
class SaeSite:
    """The place of a sparse autoencoder: number of the layer, and what of it."""

    layer: int
    kind: SaeSiteKind


@dataclass(frozen=True, slots=True, eq=False)
class SparseAutoencoder:
    """Weights, float32 on one device; F latents, activations of width H.

    :param encoder: W_enc (F, H); :param encoder_bias: (F,); :param pre_bias: b_pre (H,).
    :param decoder: W_dec (F, H); :param decoder_bias: (H,).
    :param k: latents kept of a token; ``None`` keeps all that are positive.
    :param threshold: (F,) what a latent must exceed before the ReLU, for JumpReLU.
    :param content_hash: of weights, site and activation, 32 hex digits.
    """

    site: SaeSite
    encoder: "torch.Tensor"
    encoder_bias: "torch.Tensor"
    pre_bias: "torch.Tensor"
    decoder: "torch.Tensor"
    decoder_bias: "torch.Tensor"
    k: int | None
    threshold: "torch.Tensor | None"
    content_hash: str

    @classmethod
    def of(
        cls,
        site: SaeSite,
        weights: Mapping[str, "torch.Tensor"],
        *,
        k: int | None = None,
        threshold: "torch.Tensor | None" = None,
    ) -> "SparseAutoencoder":
        """Put one together of ``encoder``, ``encoder_bias``, ``pre_bias``, ``decoder`` and ``decoder_bias``.

        :raises ModelError: shapes that do not belong together, or numbers that are not finite.
        """
        own = {name: tensor.detach().float().contiguous() for name, tensor in weights.items()}
        threshold = None if threshold is None else threshold.detach().float().contiguous()
        _check(own | ({} if threshold is None else {"threshold": threshold}), k)
        digest = _digest(site, own, k, threshold)
        return cls(site, **own, k=k, threshold=threshold, content_hash=digest)

    @property
    def latents(self) -> int:
        """How many latents F there are."""
        return int(self.encoder.shape[0])

    @property
    def d_in(self) -> int:
        """Width H of the activations."""
        return int(self.encoder.shape[1])

    def to(self, device: "torch.device | str") -> "SparseAutoencoder":
        """Give the same on another device; itself where it is there already."""
        if self.encoder.device == device:
            return self
        names = ("encoder", "encoder_bias", "pre_bias", "decoder", "decoder_bias")
        moved = {name: getattr(self, name).to(device) for name in names}
        threshold = None if self.threshold is None else self.threshold.to(device)
        return replace(self, **moved, threshold=threshold)

    def codes(self, hidden: "torch.Tensor") -> "torch.Tensor":
        """Encode activations (m, H) as dense codes (m, F) float32."""
        active = self._active(hidden)
        if self.k is None:
            return active
        values, numbers = active.topk(self.k, dim=1)
        return active.zero_().scatter_(1, numbers, values)

    def encode(self, hidden: "torch.Tensor") -> tuple["torch.Tensor", "torch.Tensor"]:
        """Encode activations (m, H) as sparse codes, largest first.

        :returns: numbers of the latents (m, K) int64 and their values (m, K) float32. K is k, or as many latents as
            the busiest of these tokens has; a token with fewer has values of 0 at the end.
        """
        active = self._active(hidden)
        busiest = self.k or max(1, int((active > 0).sum(dim=1).amax())) if len(active) else 1
        values, numbers = active.topk(busiest, dim=1)
        return numbers, values

    def decode(self, numbers: "torch.Tensor", values: "torch.Tensor") -> "torch.Tensor":
        """Reconstruct activations (m, H) float32 from sparse codes (m, K)."""
        from torch.nn.functional import embedding_bag

        return embedding_bag(numbers, self.decoder, per_sample_weights=values, mode="sum") + self.decoder_bias

    def _active(self, hidden: "torch.Tensor") -> "torch.Tensor":
        """Give the latents (m, F) before the k largest are kept."""
        from torch.nn.functional import linear

        before = linear(hidden.float() - self.pre_bias, self.encoder, self.encoder_bias)
        return before.relu() if self.threshold is None else before.relu() * (before > self.threshold)


def load_sae(path: str | Path) -> SparseAutoencoder:
    """Read a sparse autoencoder from a folder of EleutherAI's ``sparsify`` or of SAELens.

    :param path: the folder with ``cfg.json``, or one above it that holds no other.
    :raises ModelError: there is none, there are several, or it is of a kind that is not understood.
    """
    from nait_index.activations.sae.formats import read_saelens, read_sparsify

    folder = _find(Path(path))
    if (folder / "sae.safetensors").is_file():
        return read_sparsify(folder)
    if (folder / "sae_weights.safetensors").is_file():
        return read_saelens(folder)
    raise ModelError(
        f"{folder} holds neither sae.safetensors (sparsify) nor sae_weights.safetensors (SAELens): no weights that "
        "can be read"
    )


def _find(path: Path) -> Path:
    """Find the one folder with ``cfg.json``: this one or one below it."""
    if not path.is_dir():
        raise ModelError(f"no folder at {path}; give that of a sparse autoencoder, or train one: nait-index sae train")
    if (path / "cfg.json").is_file():
        return path
    found = sorted(str(config.parent.relative_to(path)) for config in path.rglob("cfg.json"))
    if not found:
        raise ModelError(f"{path} holds no cfg.json, so it is no sparse autoencoder of sparsify or SAELens")
    if found[1:]:
        raise ModelError(f"{path} holds {len(found)} sparse autoencoders; name one of them: {', '.join(found[:8])}")
    return path / found[0]


def _check(tensors: Mapping[str, "torch.Tensor"], k: int | None) -> None:
    encoder = tensors["encoder"]
    if encoder.dim() != 2:
        raise ModelError(f"the encoder of this sparse autoencoder has shape {tuple(encoder.shape)}, not two dimensions")
    latents, width = encoder.shape
    wanted = {"decoder": (latents, width), "encoder_bias": (latents,), "threshold": (latents,)}
    for name, tensor in tensors.items():
        shape = wanted.get(name, (width,)) if name != "encoder" else (latents, width)
        if tuple(tensor.shape) != shape:
            raise ModelError(f"{name} of this sparse autoencoder has shape {tuple(tensor.shape)}, expected {shape}")
        if not tensor.isfinite().all():
            raise ModelError(f"{name} of this sparse autoencoder holds numbers that are not finite")
    if k is not None and not 1 <= k <= latents:
        raise ModelError(f"this sparse autoencoder keeps {k} of {latents} latents, which cannot be")


def _digest(
    site: SaeSite, weights: Mapping[str, "torch.Tensor"], k: int | None, threshold: "torch.Tensor | None"
) -> str:
    digest = hashlib.blake2b(f"{site.layer} {site.kind} {k} {threshold is not None}".encode(), digest_size=16)
    own = weights if threshold is None else {**weights, "threshold": threshold}
    for name in sorted(own):
        digest.update(f"\0{name} {tuple(own[name].shape)}\0".encode())
        digest.update(own[name].cpu().numpy().data)
    return digest.hexdigest()

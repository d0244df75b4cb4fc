"""A sparse autoencoder: its weights and what they compute.

    z(h) = σ(W_enc (h − b_pre) + b_enc),    ĥ = z(h) W_dec + b_dec

h is a token's activation at the autoencoder's site. σ is TopK(ReLU(·)), which keeps the k largest (Gao et al. 2024,
arXiv 2406.04093); ReLU alone; or JumpReLU, which keeps what exceeds a threshold for each latent (Rajamanoharan et al.
2024, arXiv 2407.14435). In all three cases the codes are never negative.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nait_index.activations.sae.sites import SaeSite
from nait_index.errors import ModelError

if TYPE_CHECKING:
    import torch

_CHUNK = 2**25
"""Numbers in the dense codes of one chunk of tokens: 128 MiB."""


@dataclass(frozen=True, slots=True, eq=False)
class SparseAutoencoder:
    """Weights, float32 on one device; F latents, activations of width H.

    :param encoder: W_enc (F, H); :param encoder_bias: (F,); :param pre_bias: b_pre (H,).
    :param decoder: W_dec (F, H); :param decoder_bias: (H,).
    :param k: number of latents kept per token; ``None`` keeps all that are positive.
    :param threshold: (F,) the value that a latent must exceed before the ReLU, for JumpReLU.
    :param content_hash: of weights, site, k and threshold; 32 hex digits.
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
        """Build one from ``encoder``, ``encoder_bias``, ``pre_bias``, ``decoder`` and ``decoder_bias``.

        :raises ModelError: the shapes do not fit together, or some numbers are not finite.
        """
        given = weights if threshold is None else {**weights, "threshold": threshold}
        tensors = {name: tensor.detach().float().contiguous() for name, tensor in given.items()}
        _check(tensors, k)
        fields: dict[str, Any] = {"threshold": None} | tensors
        return cls(site, k=k, content_hash=_digest(site, tensors, k), **fields)

    @property
    def latents(self) -> int:
        """Number of latents F."""
        return int(self.encoder.shape[0])

    @property
    def d_in(self) -> int:
        """Width H of the activations."""
        return int(self.encoder.shape[1])

    def to(self, device: "torch.device | str") -> "SparseAutoencoder":
        """Copy it to another device; return itself if it is there already."""
        if self.encoder.device == device:
            return self
        names = ("encoder", "encoder_bias", "pre_bias", "decoder", "decoder_bias", "threshold")
        tensors = {name: tensor for name in names if (tensor := getattr(self, name)) is not None}
        return replace(self, **{name: tensor.to(device) for name, tensor in tensors.items()})

    def codes(self, hidden: "torch.Tensor") -> "torch.Tensor":
        """Encode activations (m, H) as dense codes (m, F) float32."""
        active = self._active(hidden)
        if self.k is None:
            return active
        values, numbers = active.topk(self.k, dim=1)
        return active.zero_().scatter_(1, numbers, values)

    def encode(self, hidden: "torch.Tensor") -> tuple["torch.Tensor", "torch.Tensor"]:
        """Encode activations (m, H) as sparse codes, largest first.

        :returns: numbers of the latents (m, K) int64 and their values (m, K) float32. K is k, or else the largest
            number of active latents among these tokens; a token with fewer has values of 0 at the end.
        """
        active = self._active(hidden)
        busiest = self.k or max(1, int((active > 0).sum(dim=1).amax())) if len(active) else 1
        values, numbers = active.topk(busiest, dim=1)
        return numbers, values

    def mean_codes(self, hidden: "torch.Tensor", mask: "torch.Tensor") -> "torch.Tensor":
        """Average the codes of each sample's tokens, z̄ = (1/T)·Σ_t z(h_t) (MONA, arXiv 2503.15573).

        One chunk of tokens at a time. Numbers that are not finite stay within their sample.

        :param hidden: (B, T, H) activations at the site; :param mask: (B, T), 0 for padding.
        :returns: (B, F) float32.
        :raises ModelError: the activations are not of the width that the autoencoder reads.
        """
        if hidden.shape[-1] != self.d_in:
            raise ModelError(
                f"the sparse autoencoder reads activations of width {self.d_in}, this model's have {hidden.shape[-1]}; "
                "it was made for another model"
            )
        sae = self.to(hidden.device)
        total = sae.encoder.new_zeros(len(hidden), sae.latents)
        rows, positions = mask.nonzero(as_tuple=True)
        size = max(1, _CHUNK // sae.latents)
        for chunk_rows, chunk_positions in zip(rows.split(size), positions.split(size), strict=True):
            codes = sae.codes(hidden[chunk_rows, chunk_positions])
            samples, counts = chunk_rows.unique_consecutive(return_counts=True)
            # Not index_add_, which sums in no fixed order on a GPU.
            for row, part in zip(samples.tolist(), codes.split(counts.tolist()), strict=True):
                total[row] += part.sum(dim=0)
        return total / mask.sum(dim=1, keepdim=True)

    def decode(self, numbers: "torch.Tensor", values: "torch.Tensor") -> "torch.Tensor":
        """Reconstruct activations (m, H) float32 from sparse codes (m, K)."""
        from torch.nn.functional import embedding_bag

        return embedding_bag(numbers, self.decoder, per_sample_weights=values, mode="sum") + self.decoder_bias

    def _active(self, hidden: "torch.Tensor") -> "torch.Tensor":
        """Compute the latents (m, F), before all but the k largest are dropped."""
        from torch.nn.functional import linear

        before = linear(hidden.float() - self.pre_bias, self.encoder, self.encoder_bias)
        return before.relu() if self.threshold is None else before.relu() * (before > self.threshold)


def _check(tensors: Mapping[str, "torch.Tensor"], k: int | None) -> None:
    encoder = tensors["encoder"]
    if encoder.dim() != 2:
        raise ModelError(f"the encoder of this sparse autoencoder has shape {tuple(encoder.shape)}, not two dimensions")
    latents, width = encoder.shape
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("encoder", "decoder"), (latents, width))
    shapes |= dict.fromkeys(("encoder_bias", "threshold"), (latents,))
    shapes |= dict.fromkeys(("pre_bias", "decoder_bias"), (width,))
    for name, tensor in tensors.items():
        if tuple(tensor.shape) != (shape := shapes[name]):
            raise ModelError(f"{name} of this sparse autoencoder has shape {tuple(tensor.shape)}, expected {shape}")
        if not tensor.isfinite().all():
            raise ModelError(f"{name} of this sparse autoencoder contains numbers that are not finite")
    if k is not None and not 1 <= k <= latents:
        raise ModelError(f"this sparse autoencoder cannot keep {k} of {latents} latents")


def _digest(site: SaeSite, tensors: Mapping[str, "torch.Tensor"], k: int | None) -> str:
    settings = f"{site.layer} {site.kind} {k} {'threshold' in tensors}"
    digest = hashlib.blake2b(settings.encode(), digest_size=16)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\0{name} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.cpu().numpy().data)
    return digest.hexdigest()

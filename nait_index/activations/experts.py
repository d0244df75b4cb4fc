"""The neurons of a mixture-of-experts layer, whose projections transformers keeps fused in 3-D parameters.

Neuron ``e·I + j`` is coordinate j of expert e's hidden state; it is 0 for a token that was not routed to expert e. The
router's weight is applied after the down projection and therefore is not part of the activation.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class ExpertTokens:
    """What one expert computes.

    :param tokens: (m,) numbers of the tokens that were routed to it.
    :param neurons: (m, I) input of its down projection; :param up: (m, I) output of its up-projection.
    """

    expert: int
    tokens: "torch.Tensor"
    neurons: "torch.Tensor"
    up: "torch.Tensor"


def expert_activations(
    experts: Any,  # noqa: ANN401 - a fused module, known by its attributes
    hidden: "torch.Tensor",
    routed: "torch.Tensor",
) -> Iterator[ExpertTokens]:
    """Recompute what enters each expert's down projection, expert by expert.

    :param experts: the fused module (``gate_up_proj`` of shape (E, 2I, H), or (E, H, 2I) where ``is_transposed``).
    :param hidden: (B·T, H) input of the layer.
    :param routed: (B·T, k) experts chosen for each token.
    :returns: one for each expert that any token was routed to.
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

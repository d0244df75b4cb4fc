"""The neurons of a mixture-of-experts layer whose experts lie together in 3-D parameters.

No module computes one expert there, so :func:`expert_activations` recomputes the inputs of the down projections from
the parameters. :func:`check_experts` runs a model once and rebuilds every layer's output from them: a family that
computes anything else is refused.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from nait_index.errors import ArchitectureError

if TYPE_CHECKING:
    import torch
    from torch import nn

BOTH_HALVES = "gate_up_proj"
"""Name of a projection that computes the gate, then the up-projection."""

# Largest difference between a layer's output and the rebuilt one, relative to the largest value, by bytes of a number.
_ROUNDING = {8: 1e-4, 4: 1e-3, 2: 4e-2}


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


def holds_experts(module: Any) -> bool:  # noqa: ANN401 - any module
    """Report whether a module keeps the projections of several experts in 3-D parameters."""
    parameters = module.parameters(recurse=False)
    return any(parameter.dim() == 3 and max(parameter.shape[:2]) > 1 for parameter in parameters)


def count_neurons(experts: Any, path: str) -> int:  # noqa: ANN401 - a module, recognised by its parameters
    """Count the neurons of all experts together: experts × intermediate width of one.

    :param path: of the module, for the message.
    :raises ArchitectureError: the parameters do not have the shapes of experts that are known.
    """
    first, down = _first(experts), getattr(experts, "down_proj", None)
    if first is None or first.dim() != 3 or down is None or down.dim() != 3 or not callable(_activation(experts)):
        raise ArchitectureError(
            f"the experts at '{path}' ({type(experts).__name__}) are fused in an unsupported way; "
            "capture another part of the model with --site"
        )
    width = down.shape[1] if _is_transposed(experts) else down.shape[2]
    return int(down.shape[0]) * int(width)


def expert_activations(experts: Any, args: Sequence[Any]) -> Iterator[ExpertTokens]:  # noqa: ANN401
    """Recompute the inputs of the down projections of one layer's experts, expert by expert.

    Neuron ``e·I + j`` is coordinate j of expert e's hidden state; it is 0 for a token that was not routed to expert e.
    Where the router's weight is applied after the down projection, it is not part of the activation.

    :param experts: the module: ``gate_up_proj`` of shape (E, 2I, H) or ``up_proj`` of shape (E, I, H), and
        ``down_proj`` of shape (E, H, I); the last two axes of both are swapped where it is transposed.
    :param args: positional arguments of its forward pass: hidden states (B·T, H), the experts (B·T, k) chosen for each
        token, and their weights (B·T, k). Llama 4 passes one: the hidden states (E·B·T, H) that each expert reads,
        scaled by the router and zero where it was not chosen.
    :returns: one item for each expert that any token was routed to.
    """
    for expert, tokens, hidden in _routed(experts, args):
        weight = _first(experts)[expert]
        out = hidden @ (weight if _is_transposed(experts) else weight.T)
        if getattr(experts, "has_bias", False):
            out = out + getattr(experts, f"{_first_name(experts)}_bias")[expert]
        neurons = _activation(experts)(out)
        if _first_name(experts) != BOTH_HALVES:
            up = out
        elif getattr(experts, "is_concatenated", True):
            up = out[..., out.shape[-1] // 2 :]
        else:
            up = out[..., 1::2]
        yield ExpertTokens(expert, tokens, neurons, up)


def _routed(experts: Any, args: Sequence[Any]) -> Iterator[tuple[int, Any, Any]]:  # noqa: ANN401
    """Yield, for every expert that reads any token, its number, the tokens' positions, and what it reads of them."""
    count = experts.down_proj.shape[0]
    hidden = args[0].reshape(-1, args[0].shape[-1])
    if len(args) == 1:
        for expert, part in enumerate(hidden.reshape(count, -1, hidden.shape[-1])):
            tokens = (part != 0).any(dim=-1).nonzero()[:, 0]
            if len(tokens):
                yield expert, tokens, part[tokens]
        return
    chosen = args[1].reshape(len(hidden), -1)
    for expert in chosen.unique().tolist():
        if expert < count:  # LongCat numbers experts that compute nothing after the others
            tokens = (chosen == expert).any(dim=1).nonzero()[:, 0]  # a token may be sent to one expert twice
            yield int(expert), tokens, hidden[tokens]


def _first_name(experts: Any) -> str:  # noqa: ANN401
    return BOTH_HALVES if getattr(experts, BOTH_HALVES, None) is not None else "up_proj"


def _first(experts: Any) -> Any:  # noqa: ANN401
    """Return the parameter that experts read the hidden state with."""
    # Experts with a gate of its own beside ``up_proj`` are of another kind.
    return None if getattr(experts, "gate_proj", None) is not None else getattr(experts, _first_name(experts), None)


def _is_transposed(experts: Any) -> bool:  # noqa: ANN401
    """Decide whether projections are kept as (in, out), by the module's attribute or by shapes that fit no other."""
    known = getattr(experts, "is_transposed", None)
    if known is not None:
        return bool(known)
    return bool(_first(experts).shape[2] != experts.down_proj.shape[1])


def _activation(experts: Any) -> Any:  # noqa: ANN401
    """Return the function from the first projection's output (m, I or 2I) to the neurons (m, I), or ``None``."""
    act = getattr(experts, "act_fn", None)
    if _first_name(experts) != BOTH_HALVES:
        return act
    gate = getattr(experts, "_apply_gate", None)
    if gate is not None or act is None:
        return gate

    def apply_gate(both: "torch.Tensor") -> "torch.Tensor":
        left, right = both.chunk(2, dim=-1)
        gated: torch.Tensor = act(left) * right
        return gated

    return apply_gate


class _AllCompared(Exception):
    """Raised inside the forward pass at the last experts, to stop it."""


def check_experts(body: "nn.Module", paths: Sequence[str], inputs: Mapping[str, Any]) -> None:
    """Run a model once, and compare the output of every experts module with the one rebuilt from its neurons.

    :param paths: of the modules; :param inputs: keyword arguments of the forward pass.
    :raises ArchitectureError: an output is another, so that the neurons are not what the model computes.
    """
    import torch

    waiting = set(paths)

    def compare(path: str, experts: Any, args: tuple[Any, ...], output: Any) -> None:  # noqa: ANN401
        _compare(path, experts, args, output)
        waiting.discard(path)
        if not waiting:
            raise _AllCompared

    handles = [body.get_submodule(path).register_forward_hook(partial(compare, path)) for path in paths]
    try:
        with torch.inference_mode(), suppress(_AllCompared):
            body(**inputs)
    finally:
        for handle in handles:
            handle.remove()


def _compare(path: str, experts: Any, args: tuple[Any, ...], output: Any) -> None:  # noqa: ANN401
    output = output[0] if isinstance(output, tuple) else output
    output = output.reshape(-1, output.shape[-1]).float()
    rebuilt = _rebuild(experts, args, output)
    scale = float(output.abs().max())
    if rebuilt is None or float((rebuilt - output).abs().max()) > _ROUNDING[experts.down_proj.element_size()] * scale:
        raise ArchitectureError(
            f"the experts at '{path}' ({type(experts).__name__}) compute something other than their neurons' down "
            "projection, so they cannot be captured; capture another part of the model with --site"
        )


def _rebuild(experts: Any, args: tuple[Any, ...], like: "torch.Tensor") -> "torch.Tensor | None":  # noqa: ANN401
    """Rebuild the output of the experts in float32, shaped like ``like``, or ``None`` where no weights are known."""
    import torch

    rebuilt = torch.zeros_like(like)
    if len(args) > 2:
        # LongCat's experts without neurons return what they read.
        idle = (args[2] * (args[1] >= len(experts.down_proj))).reshape(len(like), -1).sum(dim=-1, keepdim=True)
        rebuilt += (args[0].reshape(like.shape) * idle).float()
    for part in expert_activations(experts, args):
        weight = experts.down_proj[part.expert]
        out = part.neurons @ (weight if _is_transposed(experts) else weight.T)
        if getattr(experts, "has_bias", False):
            out = out + experts.down_proj_bias[part.expert]
        if getattr(experts, "has_post_expert_norm", False):
            out = experts.post_expert_norm(out)
        if len(args) == 1:
            rebuilt[part.expert * (len(like) // len(experts.down_proj)) + part.tokens] = out.float()
            continue
        if len(args) < 3:
            return None
        chosen = args[1].reshape(len(like), -1)[part.tokens] == part.expert
        weights = (args[2].reshape(len(like), -1)[part.tokens] * chosen).sum(dim=-1, keepdim=True)
        rebuilt.index_add_(0, part.tokens, (out * weights).float())
    return rebuilt

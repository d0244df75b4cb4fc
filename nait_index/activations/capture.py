"""Hooks that pool neurons while the forward pass runs, so that no (B, T, N) tensor outlives its layer."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nait_index.activations.architectures import Site, SiteKind
from nait_index.activations.experts import expert_activations
from nait_index.activations.pooling import TokenSpan
from nait_index.errors import ArchitectureError, ModelError

if TYPE_CHECKING:
    import torch
    from torch import nn


class _AllCaptured(Exception):
    """Raised inside the forward pass at the last site: nothing after it is needed, so nothing after it is computed."""


class Capture:
    """Pools the neurons of the given sites for one batch after another.

    Hooks hang on the model only inside :meth:`installed`; :meth:`run` makes one forward pass.
    """

    def __init__(self, body: "nn.Module", sites: Sequence[Site]) -> None:
        self._body = body
        self._sites = tuple(sites)
        self._width = sum(site.width for site in self._sites)
        self._span: TokenSpan | None = None
        self._pooled: torch.Tensor | None = None
        self._fired: set[str] = set()

    @contextmanager
    def installed(self) -> Iterator["Capture"]:
        """Hang the hooks on the model, and take every one of them off again whatever happens."""
        handles = []
        offset = 0
        try:
            for site in self._sites:
                hook = self._make_hook(site, offset)
                handles.append(self._body.get_submodule(site.path).register_forward_pre_hook(hook))
                offset += site.width
            yield self
        finally:
            for handle in handles:
                handle.remove()

    def run(self, inputs: Mapping[str, Any], span: TokenSpan) -> "torch.Tensor":
        """Make one forward pass.

        :param inputs: keyword arguments of the model body, (B, T) each.
        :param span: which tokens of each sample are its own.
        :returns: (B, P, D) float32 on the model's device: mean, then drift, of every neuron, layers in order.
        :raises ArchitectureError: a hook did not fire, or saw something that is not its layer's neurons.
        """
        import torch

        batch = inputs["input_ids"].shape[0]
        self._span = span
        self._pooled = torch.zeros(batch, 2, self._width, dtype=torch.float32, device=inputs["input_ids"].device)
        self._fired.clear()
        try:
            self._body(**inputs)
        except _AllCaptured:
            pass
        finally:
            pooled, self._pooled, self._span = self._pooled, None, None
        silent = [site.path for site in self._sites if site.path not in self._fired]
        if silent:
            raise ArchitectureError(
                f"no activation was seen at {silent[0]}"
                + (f" and {len(silent) - 1} more sites" if silent[1:] else "")
                + ": the model computes this part without calling the module (a fused kernel?)"
            )
        return pooled

    def _make_hook(self, site: Site, offset: int) -> Any:  # noqa: ANN401 - torch's own hook type is no better
        pool = self._pool_experts if site.kind is SiteKind.EXPERTS else self._pool_projection

        def hook(module: "nn.Module", args: tuple[Any, ...]) -> None:
            if self._pooled is None or self._span is None:
                raise ModelError("the model was run from outside while its activations were being captured")
            if site.path in self._fired:
                raise ArchitectureError(
                    f"'{site.path}' ran twice in one forward pass; layers that are shared cannot be told apart"
                )
            self._fired.add(site.path)
            pool(site, module, args, self._pooled[:, :, offset : offset + site.width])
            if len(self._fired) == len(self._sites):
                raise _AllCaptured

        return hook

    def _pool_projection(self, site: Site, module: "nn.Module", args: tuple[Any, ...], out: "torch.Tensor") -> None:
        span = self._span
        assert span is not None
        neurons = args[0] if args else None
        if neurons is None or neurons.shape[-1] != site.width or neurons.numel() != span.tokens * site.width:
            shape = None if neurons is None else tuple(neurons.shape)
            raise ArchitectureError(
                f"the input of '{site.path}' has shape {shape}; expected (batch {span.batch}, tokens {span.length}, "
                f"neurons {site.width})"
            )
        # OPT and shared experts see (B·T, N).
        span.pool(neurons.reshape(span.batch, span.length, site.width), out)

    def _pool_experts(self, site: Site, module: "nn.Module", args: tuple[Any, ...], out: "torch.Tensor") -> None:
        span = self._span
        assert span is not None
        hidden, routed = args[0], args[1]
        hidden = hidden.reshape(-1, hidden.shape[-1])
        for expert, tokens, neurons in expert_activations(module, hidden, routed.reshape(hidden.shape[0], -1)):
            width = neurons.shape[-1]
            span.pool_tokens(tokens, neurons, out[:, :, expert * width : (expert + 1) * width])

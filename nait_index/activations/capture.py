"""Hooks that pool activations while the forward pass runs, so that no (B, T, N) tensor outlives its layer."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from nait_index.activations.experts import expert_activations
from nait_index.activations.families import Site, find_up_projection
from nait_index.activations.pooling import TokenSpan, lent
from nait_index.errors import ArchitectureError, ModelError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from nait_index.activations.sae.autoencoder import SparseAutoencoder


@dataclass(frozen=True, slots=True)
class Probes:
    """What to capture besides the neurons.

    :param impact: the mean size of every neuron's up-projection; of the neuron itself where ``own_site`` is set, which
        means that the user named the module that holds the neurons.
    :param hidden: the last hidden states. :param sae: the codes of this sparse autoencoder.
    """

    impact: bool = False
    own_site: bool = False
    hidden: bool = False
    sae: "SparseAutoencoder | None" = None


@dataclass(frozen=True, slots=True)
class Captured:
    """Pooled activations of one batch, float32 on the model's device; ``None`` for what no probe asks for.

    :param neurons: (B, 2, D) mean, then drift, of every neuron, layers in order. :param impact: (B, D).
    :param hidden: (B, 2, H) mean and position-weighted mean of the last hidden states. :param codes: (B, F).
    """

    neurons: "torch.Tensor"
    impact: "torch.Tensor | None" = None
    hidden: "torch.Tensor | None" = None
    codes: "torch.Tensor | None" = None

    @property
    def finite(self) -> "torch.Tensor":
        """Mask (B,) of the texts whose numbers are all finite."""
        import torch

        finite = [part.isfinite().flatten(1).all(dim=1) for part in self._parts() if part is not None]
        return torch.stack(finite).all(dim=0)

    @classmethod
    def joined(cls, batches: "Sequence[Captured]") -> "Captured":
        """Join batches in their order."""
        import torch

        if len(batches) == 1:
            return batches[0]
        columns = zip(*(batch._parts() for batch in batches), strict=True)
        return cls(*(None if parts[0] is None else torch.cat(parts) for parts in columns))  # type: ignore[arg-type]

    def _parts(self) -> "tuple[torch.Tensor | None, ...]":
        return self.neurons, self.impact, self.hidden, self.codes


@dataclass(slots=True)
class _Hook:
    """One hook: what it does with each call of a forward pass, and how many calls it has seen.

    :param before: whether it sees the module's input; otherwise its output.
    """

    path: str
    module: "nn.Module"
    before: bool
    pools: list[Callable[..., None]]
    calls: int = 0


class _AllCaptured(Exception):
    """Raised inside the forward pass at the last site, to stop it: nothing after that site is needed."""


class Capture:
    """Pools the activations of one batch after another.

    The model has hooks only inside :meth:`installed`; :meth:`run` makes one forward pass.
    """

    def __init__(self, body: "nn.Module", sites: Sequence[Site], probes: Probes | None = None) -> None:
        self._body = body
        self._sites = tuple(sites)
        self._probes = probes or Probes()
        self._width = sum(site.width for site in self._sites)
        self._span: TokenSpan | None = None
        self._neurons: torch.Tensor | None = None
        self._impact: torch.Tensor | None = None
        self._codes: torch.Tensor | None = None
        self._hooks: list[_Hook] = []

    @contextmanager
    def installed(self) -> Iterator["Capture"]:
        """Install the hooks on the model, and remove every one of them in the end, whatever happens."""
        handles: list[Any] = []
        try:
            for hook in self._plan():
                handles.append(self._install(hook))
            yield self
        finally:
            for handle in handles:
                handle.remove()

    def _plan(self) -> Iterable["_Hook"]:
        """Plan one hook for every module and side, with what it does at each call of a forward pass.

        A module that several layers share is called once for each of them.
        """
        hooks: dict[tuple[int, bool], _Hook] = {}

        def add(path: str, pool: Callable[..., None], *, before: bool) -> None:
            module = self._body.get_submodule(path)
            hooks.setdefault((id(module), before), _Hook(path, module, before, [])).pools.append(pool)

        offset = 0
        for site in self._sites:
            columns = slice(offset, offset + site.width)
            add(
                site.path,
                partial(self._pool_experts if site.has_experts else self._pool_projection, site, columns),
                before=True,
            )
            if self._probes.impact and not self._probes.own_site and (up := find_up_projection(self._body, site)):
                add(up, partial(self._pool_up, site, columns), before=False)
            offset += site.width
        if self._probes.sae is not None:
            from nait_index.activations.sae.sites import site_module

            add(site_module(self._sites, self._probes.sae.site, self._body), self._encode, before=False)
        return hooks.values()

    def run(self, inputs: Mapping[str, Any], span: TokenSpan) -> Captured:
        """Make one forward pass.

        :param inputs: keyword arguments of the bare transformer, (B, T) each.
        :param span: which tokens of the batch belong to each sample, padding excluded.
        :raises ArchitectureError: a hook did not fire, or received something other than its layer's neurons.
        """
        import torch

        batch, device = inputs["input_ids"].shape[0], inputs["input_ids"].device
        self._span = span
        self._neurons = span.buffer(self._width)
        self._impact = torch.zeros(batch, self._width, device=device) if self._probes.impact else None
        for hook in self._hooks:
            hook.calls = 0
        hidden = None
        try:
            hidden = self._pool_hidden(self._body(**inputs), span)
        except _AllCaptured:
            pass
        finally:
            captured = Captured(self._neurons, self._impact, hidden, self._codes)
            self._span = self._neurons = self._impact = self._codes = None
        self._check_fired()
        return captured

    def _check_fired(self) -> None:
        silent = [hook.path for hook in self._hooks if hook.calls < len(hook.pools)]
        if silent:
            raise ArchitectureError(
                f"no activation was seen at {silent[0]}"
                + (f" and {len(silent) - 1} more sites" if silent[1:] else "")
                + ": the model computes this part without calling the module (in a fused kernel?), or only for images"
            )

    def _install(self, hook: "_Hook") -> Any:  # noqa: ANN401 - torch's handle
        """Install a hook on a module: on its input, or on its output."""
        self._hooks.append(hook)

        def fire(module: "nn.Module", args: tuple[Any, ...], output: Any = None) -> None:  # noqa: ANN401
            if self._span is None:
                raise ModelError("the model was run from outside while its activations were being captured")
            if hook.calls == len(hook.pools):
                raise ArchitectureError(
                    f"'{hook.path}' ran more often in one forward pass than the model has layers with it; models that "
                    "loop over their layers are not supported"
                )
            hook.calls += 1
            hook.pools[hook.calls - 1](module, args if hook.before else output, self._span)
            if not self._probes.hidden and all(other.calls == len(other.pools) for other in self._hooks):
                raise _AllCaptured

        register = hook.module.register_forward_pre_hook if hook.before else hook.module.register_forward_hook
        return register(fire)

    def _pool_projection(
        self, site: Site, columns: slice, module: "nn.Module", args: tuple[Any, ...], span: TokenSpan
    ) -> None:
        assert self._neurons is not None
        neurons = args[0] if args else None
        if neurons is None or neurons.shape[-1] != site.width or neurons.numel() != span.tokens * site.width:
            shape = None if neurons is None else tuple(neurons.shape)
            raise ArchitectureError(
                f"the input of '{site.path}' has shape {shape}; expected (batch {span.batch}, tokens {span.length}, "
                f"neurons {site.width})"
            )
        # OPT and shared experts see (B·T, N).
        neurons = neurons.reshape(span.batch, span.length, site.width)
        span = span.on(neurons.device)
        with lent(self._neurons[:, :, columns], neurons.device) as pooled:
            span.pool(neurons, pooled)
        if self._impact is not None and self._probes.own_site:
            self._impact[:, columns] = span.mean(neurons.abs()).to(self._impact.device)

    def _pool_experts(
        self, site: Site, columns: slice, module: "nn.Module", args: tuple[Any, ...], span: TokenSpan
    ) -> None:
        assert self._neurons is not None
        for part in expert_activations(module, args):
            width, device = part.neurons.shape[-1], part.neurons.device
            start = columns.start + part.expert * width
            there = span.on(device)
            with lent(self._neurons[:, :, start : start + width], device) as pooled:
                there.pool_tokens(part.tokens, part.neurons, pooled)
            if self._impact is not None:
                size = part.neurons if self._probes.own_site else part.up
                with lent(self._impact[:, start : start + width], device) as impact:
                    there.add_mean(part.tokens, size.abs(), impact)

    def _pool_up(
        self, site: Site, columns: slice, module: "nn.Module", output: "torch.Tensor", span: TokenSpan
    ) -> None:
        assert self._impact is not None
        output = output[0] if isinstance(output, tuple) else output  # I-BERT returns a scale beside it
        shape = tuple(getattr(output, "shape", ()))
        if shape[-1:] not in ((site.width,), (2 * site.width,)) or output.numel() != span.tokens * shape[-1]:
            raise ArchitectureError(
                f"the up-projection beside '{site.path}' ({type(module).__name__}) computes "
                f"{shape or type(output).__name__} instead of (batch {span.batch}, tokens {span.length}, neurons "
                f"{site.width}), which the view topk needs; leave topk out of --views"
            )
        # One projection may compute the gate, then the up-projection.
        up = output[..., site.width :] if output.shape[-1] == 2 * site.width else output
        impact = span.on(up.device).mean(up.abs().reshape(span.batch, span.length, -1))
        self._impact[:, columns] = impact.to(self._impact.device)

    def _encode(self, module: "nn.Module", output: Any, span: TokenSpan) -> None:  # noqa: ANN401
        assert self._probes.sae is not None
        hidden = output[0] if isinstance(output, tuple) else output
        mask = span.on(hidden.device).mask
        codes = self._probes.sae.mean_codes(hidden.reshape(span.batch, span.length, -1), mask)
        self._codes = codes.to(span.mask.device)

    def _pool_hidden(self, output: Any, span: TokenSpan) -> "torch.Tensor | None":  # noqa: ANN401
        import torch

        if not self._probes.hidden:
            return None
        states = output.last_hidden_state
        there = span.on(states.device)
        return torch.stack([there.mean(states), there.weighted_mean(states)], dim=1).to(span.mask.device)

"""Decide, without the table of names, whether all neurons of a tiny model are captured, and captured right.

A module that runs for a text and maps a width of feed-forward blocks to the hidden width is a down projection; so is
every 3-D parameter that runs, convolutions aside.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from benchmarks.families.tiny import DENSE, EXPERT, HIDDEN, SHARED

# Classes that have such shapes and are no feed-forward blocks: attention by heads, gates and recurrences with a width
# of their own, several residual streams mixed into one, a whole model with a mask token, what makes embeddings.
_OTHER = re.compile("Attention|Embeddings|RgLru|HyperConnection|Hyper_Connection|Model$", re.IGNORECASE)
WIDTHS = {DENSE, SHARED, 4 * HIDDEN, *(EXPERT * count for count in range(1, 5)), *(DENSE * count for count in (2, 4))}


def missed(body: Any, sites: Any, inputs: Any) -> list[str]:  # noqa: ANN401
    """Run a text, and return the paths of the down projections that ran and are no sites."""
    ran: dict[int, Any] = {}
    handles = [m.register_forward_hook(lambda m, *_: ran.update({id(m): m})) for m in body.modules()]
    try:
        _run(body, inputs)
    finally:
        for handle in handles:
            handle.remove()
    hooked = {id(body.get_submodule(site.path)) for site in sites}
    modules = dict(body.named_modules())
    return [
        path
        for path, module in modules.items()
        if id(module) in ran and id(module) not in hooked and _is_down(module) and not _is_other(path, modules)
    ]


def _is_other(path: str, modules: Any) -> bool:  # noqa: ANN401
    parts = path.split(".")
    parents = [".".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
    return bool(_OTHER.search(path)) or any(_OTHER.search(type(modules[parent]).__name__) for parent in parents)


def _is_down(module: Any) -> bool:  # noqa: ANN401
    if type(module).__name__ in ("Conv1d", "Conv2d", "Embedding"):
        return type(module).__name__ == "Conv1d" and tuple(module.kernel_size) == (1,) and module.in_channels in WIDTHS
    if any(p.dim() == 3 and max(p.shape[:2]) > 1 for p in module.parameters(recurse=False)):
        return True
    weight = getattr(module, "weight", None)
    if weight is None or weight.dim() != 2:
        return False
    width = weight.shape[0 if type(module).__name__ == "Conv1D" else 1]
    return int(width) in WIDTHS


def _run(body: Any, inputs: Any) -> None:  # noqa: ANN401
    """Run a model as far as it goes: what follows the layers does not matter, and fails in Llama 4."""
    import torch

    with torch.no_grad(), suppress(AttributeError):
        body(**inputs)


@contextmanager
def watching(body: Any, paths: list[str]) -> Iterator[dict[int, list[Any]]]:  # noqa: ANN401
    """Record the calls of modules: id of the module → (arguments, output) of each call."""
    calls: dict[int, list[Any]] = defaultdict(list)
    modules = {id(body.get_submodule(path)): body.get_submodule(path) for path in paths}
    handles = [m.register_forward_hook(lambda m, args, out: calls[id(m)].append((args, out))) for m in modules.values()]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def largest_difference(body: Any, sites: Any, inputs: Any) -> float:  # noqa: ANN401
    """Compare captured mean and drift of one text with those of every projection's input, relative to the largest."""
    import torch

    values = capture(body, sites, inputs)
    with watching(body, [site.path for site in sites]) as calls:
        _run(body, inputs)
    worst, offset = 0.0, 0
    seen: defaultdict[int, int] = defaultdict(int)
    for site in sites:
        module = id(body.get_submodule(site.path))
        args, _ = calls[module][seen[module]]
        seen[module] += 1
        part = values[:, offset : offset + site.width]
        offset += site.width
        if site.has_experts:
            continue
        neurons = args[0].detach().double().reshape(-1, site.width)
        expected = torch.stack([neurons.sum(dim=0) / len(neurons), neurons[-1] - neurons[0]])
        worst = max(worst, float((part - expected).abs().max() / expected.abs().max().clamp(min=1e-9)))
    if any(len(of) != seen[module] for module, of in calls.items()):
        return float("inf")  # a module ran more often than it is a site
    return worst


def expert_difference(body: Any, sites: Any, inputs: Any) -> float:  # noqa: ANN401
    """Compare, for a text of one token, the output of every experts module with the one rebuilt from what was captured.

    :returns: the largest difference, relative to the largest value; 0 where there are no experts.
    """
    import torch

    values = capture(body, sites, inputs)[0]
    with watching(body, [site.path for site in sites if site.has_experts]) as calls:
        _run(body, inputs)
    worst, offset = 0.0, 0
    for site in sites:
        part, offset = values[offset : offset + site.width], offset + site.width
        if not site.has_experts:
            continue
        experts = body.get_submodule(site.path)
        ((args, output),) = calls[id(experts)]
        output = (output[0] if isinstance(output, tuple) else output).detach().double()
        down = experts.down_proj.detach().double()
        neurons = part.reshape(len(down), -1)
        if down.shape[1] != neurons.shape[1] or getattr(experts, "is_transposed", None) is False:
            down = down.transpose(1, 2)
        each = torch.einsum("ei,eih->eh", neurons, down)
        if getattr(experts, "down_proj_bias", None) is not None:
            each = each + experts.down_proj_bias.detach().double()
        if hasattr(experts, "post_expert_norm"):
            each = experts.post_expert_norm(each.float()).double()
        if len(args) == 1:  # the output of every expert by itself
            rebuilt = each
        else:
            chosen, weights = args[1].reshape(-1), args[2].detach().double().reshape(-1)
            kept = chosen < len(down)
            rebuilt = (each[chosen[kept]] * weights[kept, None]).sum(dim=0)
            # Experts that compute nothing return what they read.
            rebuilt = rebuilt + (args[0].detach().double().reshape(-1) * weights[~kept, None]).sum(dim=0)
        output = output.reshape(rebuilt.shape)
        worst = max(worst, float((rebuilt - output).abs().max() / output.abs().max().clamp(min=1e-9)))
    return worst


def capture(body: Any, sites: Any, inputs: Any) -> Any:  # noqa: ANN401
    """Return mean and drift of one text as captured, (2, D) float64."""
    import torch

    from nait_index.activations.capture import Capture
    from nait_index.activations.pooling import TokenSpan

    with torch.no_grad(), Capture(body, sites).installed() as hooks:
        return hooks.run(inputs, TokenSpan(inputs["attention_mask"])).neurons[0].double()

"""Where the up-projection of a feed-forward block lies, whose output's size is a neuron's *impact*.

Impact is what NAG (Wang et al., arXiv 2604.15706) keeps of a sample: for neuron k of layer l, the mean over the tokens
of |W_up h|. Up- and down-projection are siblings with names that go in pairs. Where one projection makes both halves of
a gated block (``gate_up_proj``), the second half is the up-projection; fused experts are handled in
:mod:`nait_index.activations.experts`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nait_index.activations.architectures import Site, SiteKind
from nait_index.errors import ArchitectureError

if TYPE_CHECKING:
    from torch import nn

# Down-projection → names that its up-projection may have, the first that is there.
_PARTNERS = {
    "down_proj": ("up_proj", "gate_up_proj"),
    "fc2": ("fc1",),
    "c_proj": ("c_fc",),
    "dense_4h_to_h": ("dense_h_to_4h",),
    "lin2": ("lin1",),
    "wo": ("wi_1", "wi"),
    "w2": ("w3",),
    "fc_out": ("fc_in",),
    "output.dense": ("intermediate.dense",),
}


@dataclass(frozen=True, slots=True)
class UpSite:
    """One module whose output is an up-projection. ``half``: it is the second half of that output only."""

    path: str
    half: bool


def find_up_site(body: "nn.Module", site: Site) -> UpSite | None:
    """Find the up-projection that belongs to a down-projection; ``None`` for fused experts, which have no module.

    :raises ArchitectureError: there is none by any name known.
    """
    if site.kind is SiteKind.EXPERTS:
        return None
    for down, partners in _PARTNERS.items():
        if not site.path.endswith(f".{down}"):
            continue
        parent = site.path.removesuffix(down)
        for name in partners:
            if _has(body, parent + name):
                return UpSite(parent + name, name == "gate_up_proj")
    raise ArchitectureError(
        f"no up-projection found beside '{site.path}', whose size the view topk keeps; leave topk out of --views"
    )


def _has(body: "nn.Module", path: str) -> bool:
    try:
        body.get_submodule(path)
    except AttributeError:
        return False
    return True

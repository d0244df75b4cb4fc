"""Try every text family of transformers, made tiny: ``python -m benchmarks.families.sweep``.

Writes ``benchmarks/results/families.json``, of which ``make tables`` makes a page of the documentation. With names of
families, only those are tried, and printed.
"""

import json
import re
import sys
import warnings
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.environment import ROOT, environment
from benchmarks.families import audit, tiny

TOLERANCE = 1e-5
"""Largest difference between two float32 computations of the same values, relative to the largest value."""


class Outcome(StrEnum):
    """What becomes of a family."""

    WHOLE = "whole"
    BY_HAND = "by hand"
    REFUSED = "refused"
    WRONG = "wrong"
    NOT_RUN = "found, not run"
    NOT_TRIED = "not tried"


@dataclass(frozen=True, slots=True)
class Tried:
    """What trying one family gave.

    :param names: of the sites, ``{i}`` for the layer; :param neurons: of the tiny model.
    :param difference: between captured and computed values, relative to the largest; of experts, of their output.
    :param why: a family is refused, wrong or was not tried.
    :param padded: whether texts of different lengths may share a batch; otherwise padding reaches their tokens.
    """

    outcome: Outcome
    names: list[str] = field(default_factory=list)
    neurons: int = 0
    difference: float | None = None
    experts_difference: float | None = None
    why: str = ""
    padded: bool = True


def try_family(family: str, *, opened: bool = True) -> Tried:
    """Make one family tiny, find its neurons, and compare what is captured with what the model computes.

    :param opened: whether to save it as well, and open it as a build does.
    """
    from nait_index.activations.families import find_sites
    from nait_index.errors import ArchitectureError

    try:
        config = tiny.tiny_config(family)
    except Exception as error:
        return _find(family, error)
    if unloadable := _unloadable(config):
        return Tried(Outcome.REFUSED, why=unloadable)
    try:
        body = tiny.tiny_body(config)
    except Exception as error:
        return _find(family, error)
    try:
        tried = _check(body, find_sites(body, config.model_type))
        return _open(body, tried) if opened else tried
    except ArchitectureError as error:
        refusal = Tried(Outcome.REFUSED, why=_line(error))
        # What a refusal proposes must work.
        proposed = re.search(r"--site '([^']+)'", str(error))
        return (proposed and _check_by_hand(body, proposed[1])) or refusal


def _find(family: str, reason: Exception) -> Tried:
    """Look for the neurons of a family's default model on the meta device, where no tiny one can be made."""
    import torch
    from transformers import AutoModel
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    from nait_index.activations.families import find_sites
    from nait_index.errors import ArchitectureError

    try:
        with torch.device("meta"):
            body = AutoModel.from_config(CONFIG_MAPPING[family]())
    except Exception as error:
        return Tried(Outcome.NOT_TRIED, why=_line(error))
    try:
        sites = find_sites(body, body.config.model_type)
    except ArchitectureError as error:
        return Tried(Outcome.REFUSED, why=_line(error))
    return Tried(Outcome.NOT_RUN, _names(sites), why=f"no tiny model: {_line(reason)}")


def _names(sites: Any) -> list[str]:  # noqa: ANN401
    return sorted({re.sub(r"\.\d+\.", ".{i}.", site.path, count=1) for site in sites})


def _unloadable(config: Any) -> str:  # noqa: ANN401
    """Return why transformers has no class that loads the bare text model, or nothing."""
    from transformers import AutoModel, AutoModelForTextEncoding

    if getattr(config, "is_encoder_decoder", False):
        return "" if type(config) in AutoModelForTextEncoding._model_mapping else "an encoder–decoder model"
    return "" if type(config) in AutoModel._model_mapping else "transformers has no class of its bare transformer"


def _check(body: Any, sites: Any) -> Tried:  # noqa: ANN401
    from nait_index.activations.experts import check_experts
    from nait_index.errors import ArchitectureError

    names = _names(sites)
    neurons = sum(site.width for site in sites)
    inputs = tiny.text_inputs(body)
    try:
        missed = audit.missed(body, sites, inputs)
        if experts := [site.path for site in sites if site.has_experts]:
            check_experts(body, experts, inputs)
        difference = audit.largest_difference(body, sites, inputs)
        of_experts = audit.expert_difference(body, sites, tiny.text_inputs(body, 1)) if experts else None
    except ArchitectureError as error:
        return Tried(Outcome.REFUSED, names, neurons, why=_line(error))
    except Exception as error:
        return Tried(Outcome.REFUSED, names, neurons, why=f"it does not run on a text alone: {_line(error)}")
    right = not missed and max(difference, of_experts or 0) <= TOLERANCE
    why = "" if right else f"missed: {', '.join(missed[:4])}" if missed else "captured values are others"
    return Tried(Outcome.WHOLE if right else Outcome.WRONG, names, neurons, difference, of_experts, why)


def _open(body: Any, tried: Tried) -> Tried:  # noqa: ANN401
    """Save a model that is captured whole, open it as a build does, and encode texts of different lengths."""
    from nait_index.activations.batches import Sharing
    from nait_index.activations.encoder import Encoder
    from nait_index.config import ModelConfig, Precision
    from nait_index.errors import NaitError

    if tried.outcome is not Outcome.WHOLE:
        return tried
    try:
        with TemporaryDirectory() as folder:
            body.save_pretrained(folder)
            tiny.save_tokenizer(folder)
            with Encoder(ModelConfig(name=folder, dtype=Precision.FLOAT32)) as encoder:
                texts = encoder.tokenize(["Yes.", "Name three rivers of Europe.", "No. " * 20], add_special_tokens=True)
                encoded = sum(len(part.rows) for part in encoder.encode(texts))
            assert encoded == len(texts)
            return replace(tried, padded=encoder.rule.sharing is Sharing.ANY_LENGTH)
    except NaitError as error:
        return replace(tried, outcome=Outcome.REFUSED, why=_line(error).replace(folder, "…"))


def _check_by_hand(body: Any, pattern: str) -> Tried | None:  # noqa: ANN401
    from nait_index.activations.families import find_sites
    from nait_index.errors import ArchitectureError

    try:
        tried = _check(body, find_sites(body, body.config.model_type, pattern))
    except ArchitectureError:
        return None
    return replace(tried, outcome=Outcome.BY_HAND, why=pattern) if tried.outcome is Outcome.WHOLE else None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300].split(" You can install it")[0] or type(error).__name__


def main(families: list[str]) -> None:
    """Try families, or all of them, and write what came of it."""
    import torch
    import transformers

    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity(50)
    torch.set_num_threads(1)
    tried = {}
    for family in families or tiny.text_families():
        tried[family] = try_family(family)
        print(family, tried[family].outcome.value, tried[family].why, flush=True)
    counts = Counter(each.outcome.value for each in tried.values())
    print(", ".join(f"{outcome}: {count}" for outcome, count in counts.most_common()))
    if not families:
        result = {"environment": environment(), "families": {name: asdict(each) for name, each in tried.items()}}
        text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
        (ROOT / "benchmarks" / "results" / "families.json").write_text(text, encoding="utf-8")
    if any(each.outcome is Outcome.WRONG for each in tried.values()):
        sys.exit("some families are captured wrongly")


if __name__ == "__main__":
    main(sys.argv[1:])

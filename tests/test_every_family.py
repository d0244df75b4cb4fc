"""Families of transformers beyond those computed by hand: tiny models of their default configurations.

``make sweep`` tries all of them; here are those that are quick to make, so that a change is noticed.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.environment import ROOT

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from benchmarks.families import audit, tiny  # noqa: E402
from benchmarks.families.sweep import Outcome, try_family  # noqa: E402

RESULT: dict[str, Any] = json.loads((ROOT / "benchmarks" / "results" / "families.json").read_text(encoding="utf-8"))
WHOLE = [family for family, each in RESULT["families"].items() if each["outcome"] == "whole"]
# Each of them adds a name to the table or a case to the code.
PARTICULAR = (
    "deepseek_v4 gemma3n_text gemma4 granitemoe granitemoehybrid hunyuan_v1_moe jamba lfm2_moe llama4 llama4_text "
    "longcat_flash mobilebert modernbert mpt mt5 nemotron_h openai_privacy_filter qwen3_next recurrent_gemma rwkv umt5 "
    "xlnet yoso zamba2"
).split()
SLOW = {"bailing_hybrid", "emu3", "glm5_next", "janus", "kimi_linear", "vibevoice_asr"}
TRIED = sorted({*PARTICULAR, *WHOLE[::2]} - SLOW)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("family", TRIED)
def test_family_is_captured_whole(family: str) -> None:
    tried = try_family(family, opened=family in PARTICULAR)
    assert tried.why == ""
    assert tried.outcome is Outcome.WHOLE
    if transformers.__version__ == RESULT["environment"]["versions"]["transformers"]:
        assert tried.names == RESULT["families"][family]["names"]
        assert tried.padded or not RESULT["families"][family]["padded"]


@pytest.mark.parametrize("family", ["albert", "bart", "hrm_text", "inkling_text", "jetmoe", "longformer", "mamba"])
def test_family_is_refused_in_one_line(family: str) -> None:
    tried = try_family(family)
    assert tried.outcome is Outcome.REFUSED
    assert tried.why


def test_enough_families_are_tried() -> None:
    assert len(TRIED) >= 120
    assert len(WHOLE) >= 250


def test_audit_notices_what_is_not_captured() -> None:
    """Guards the check: a site left out is found by its shapes."""
    from nait_index.activations.families import find_sites

    body = tiny.tiny_body(tiny.tiny_config("deepseek_v3"))
    sites = find_sites(body, "deepseek_v3")
    for left_out in sites:
        rest = tuple(site for site in sites if site is not left_out)
        assert audit.missed(body, rest, tiny.text_inputs(body)) == [left_out.path]

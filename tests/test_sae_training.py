"""Training of sparse autoencoders: on data made of sparse features, on a model's tokens, from the command line."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TinyModels
from helpers import build_small, nait_index, refusal, small_rows, write_lines
from tiny_models import HIDDEN, TEXTS

from nait_index import NaitIndex
from nait_index.activations.sae.formats import load_sae
from nait_index.activations.sae.sites import SaeSite, SaeSiteKind
from nait_index.activations.sae.training import SaeSettings
from nait_index.config import SignatureConfig, View
from nait_index.errors import CorpusError, ModelError, StoreError

WIDTH, FEATURES, ACTIVE = 24, 40, 3
SITE = SaeSite(2, SaeSiteKind.RESIDUAL)
SETTINGS = SaeSettings(latents=FEATURES, k=ACTIVE, passes=6, batch=128, dead_after=2000)


def sparse_tokens(count: int, seed: int = 0, width: int = WIDTH, features: int = FEATURES) -> np.ndarray:
    """Tokens made of a few of many directions each, off centre, large, with one attention sink."""
    rng = np.random.default_rng(seed)
    directions = np.random.default_rng(99).normal(size=(features, width))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    codes = np.zeros((count, features))
    for row in codes:
        row[rng.choice(features, ACTIVE, replace=False)] = rng.uniform(20, 60, ACTIVE)
    tokens = codes @ directions + rng.normal(size=(count, width)) * 0.5 + np.linspace(-50, 50, width)
    tokens[0] = 1e5
    return tokens.astype(np.float32)


def trained(settings: SaeSettings = SETTINGS) -> Any:
    from nait_index.activations.sae.training import train_on

    return train_on(sparse_tokens(8000), SITE, settings)


def test_training_explains_what_is_sparse() -> None:
    import torch

    sae, report = trained()
    assert report.unexplained < 0.15
    assert report.dead_share <= 0.1
    assert (report.left_out, report.tokens + report.held_out) == (1, 7999)
    _, short = trained(replace(SETTINGS, passes=1))
    assert report.unexplained < short.unexplained / 1.5
    fresh = sparse_tokens(2000, seed=5)[1:]
    error = fresh - sae.decode(*sae.encode(torch.from_numpy(fresh))).numpy()
    assert np.square(error).sum() / np.square(fresh - fresh.mean(axis=0)).sum() < 0.2
    np.testing.assert_allclose(sae.decoder.norm(dim=1), 1, rtol=1e-5)
    assert (sae.latents, sae.d_in, sae.k, sae.site) == (FEATURES, WIDTH, ACTIVE, SITE)


def test_training_is_the_same_for_the_same_seed_alone() -> None:
    short = replace(SETTINGS, passes=1)
    first, again, other = (trained(settings)[0] for settings in (short, short, replace(short, seed=1)))
    assert first.content_hash == again.content_hash
    assert first.content_hash != other.content_hash


def test_dead_latents_come_back_to_life() -> None:
    from nait_index.activations.sae.training import train_on

    tokens = sparse_tokens(8000, width=32, features=256)
    # So high a rate throws latents far off.
    settings = replace(SETTINGS, latents=256, learning_rate=0.02)
    helped = train_on(tokens, SITE, replace(settings, aux_weight=0.25))[1]
    left = train_on(tokens, SITE, replace(settings, aux_weight=0.0))[1]
    assert left.dead_share > 0.1
    assert helped.dead_share < left.dead_share / 2
    assert helped.unexplained < left.unexplained


def test_tokens_that_teach_nothing_are_refused() -> None:
    from nait_index.activations.sae.training import train_on

    with pytest.raises(ModelError, match="too few"):
        train_on(sparse_tokens(39), SITE, SETTINGS)
    with pytest.raises(ModelError, match="all the same"):
        train_on(np.ones((100, WIDTH), np.float32), SITE, SETTINGS)


@pytest.mark.parametrize("wrong", [{"k": 0}, {"k": 9, "latents": 8}, {"tokens": 0}, {"passes": 0}, {"seed": -1}])
def test_settings_that_cannot_be_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ModelError, match="must be"):
        SaeSettings(**wrong)


# ---- tokens ---------------------------------------------------------------------------------------------------------


def collected(encoder: Any, texts: tuple[str, ...], count: int, seed: int = 0) -> np.ndarray:
    from nait_index.activations.sae.sites import site_module
    from nait_index.activations.sae.tokens import collect_tokens

    path = site_module(encoder.sites, SaeSite(1, SaeSiteKind.RESIDUAL), encoder.model.module)
    return collect_tokens(encoder, texts, path, count, seed=seed, add_special_tokens=True)


@pytest.mark.parametrize("family", ["llama", "opt"])
@pytest.mark.parametrize("side", ["right", "left"])
def test_every_tokens_activation_is_collected_and_no_padding(
    tiny_model: TinyModels, make_encoder: Callable[..., Any], family: str, side: str
) -> None:
    import torch

    from nait_index.config import PaddingSide

    encoder = make_encoder(tiny_model(family), padding_side=PaddingSide(side))
    kept = collected(encoder, TEXTS, 10_000)
    expected = []
    for text in encoder.tokenize(TEXTS, add_special_tokens=True):
        with torch.inference_mode():
            states = encoder.model.module(torch.from_numpy(text.ids)[None], output_hidden_states=True).hidden_states
        expected.append(states[2][0].numpy())
    everything = np.concatenate(expected)
    assert kept.shape == everything.shape
    order = [rows[np.lexsort(np.round(rows, 2).T)] for rows in (kept, everything)]
    np.testing.assert_allclose(order[0].sum(axis=0), order[1].sum(axis=0), rtol=1e-3, atol=1e-2)
    distances = np.linalg.norm(kept[:, None] - everything[None], axis=2)
    assert (distances.min(axis=1) < 1e-3).all()
    assert (distances.min(axis=0) < 1e-3).all()


def test_no_more_tokens_are_kept_than_asked_for(tiny_model: TinyModels, make_encoder: Callable[..., Any]) -> None:
    encoder = make_encoder(tiny_model("llama"))
    first, again, other = (collected(encoder, TEXTS, 50, seed) for seed in (0, 0, 1))
    assert first.shape == (50, HIDDEN)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    with pytest.raises(CorpusError, match="there is no token"):
        collected(encoder, (), 50)


def test_texts_are_drawn_evenly() -> None:
    from nait_index.activations.sae.tokens import sample_texts

    drawn = [text for seed in range(400) for text in sample_texts(map(str, range(20)), 5, seed)]
    counts = np.bincount([int(text) for text in drawn], minlength=20)
    assert len(drawn) == 2000
    # 100 each, with a standard deviation below 9.
    assert counts.min() > 60
    assert counts.max() < 140


# ---- command line ---------------------------------------------------------------------------------------------------


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "corpus.jsonl", small_rows(40))


def test_the_command_writes_what_is_read_again(tmp_path: Path, corpus: Path, tiny_model: TinyModels) -> None:
    model, out = str(tiny_model("llama")), tmp_path / "own.sae"
    arguments = ("sae", "train", out, corpus, "--model", model, "--latents", 48, "--k", 4, "--device", "cpu")
    report = nait_index(*map(str, arguments), "--tokens", "600", "--json").json
    assert report["tokens"] + report["held_out"] + report["left_out"] == 600
    sae = load_sae(out)
    assert (sae.site, sae.latents, sae.d_in, sae.k) == (SaeSite(1, SaeSiteKind.RESIDUAL), 48, HIDDEN, 4)
    assert sorted(path.name for path in out.iterdir()) == ["cfg.json", "sae.safetensors", "training.json"]
    assert json.loads((out / "cfg.json").read_text())["hookpoint"] == "layers.1"
    record = json.loads((out / "training.json").read_text())
    assert (record["content_hash"], record["settings"]["tokens"]) == (sae.content_hash, 600)
    assert "already exists" in refusal(*map(str, arguments))
    content = {path.name: path.read_bytes() for path in out.iterdir()}
    again = nait_index(*map(str, arguments), "--tokens", "600", "--json")
    assert again.json == report
    assert f"{out} is there already, trained in the same way on the same texts; nothing was changed" in again.errors
    assert {path.name: path.read_bytes() for path in out.iterdir()} == content
    rows = corpus.read_bytes()
    corpus.write_bytes(rows + b'{"instruction": "One more.", "output": "x"}\n')
    assert "already exists" in refusal(*map(str, arguments), "--tokens", "600")
    corpus.write_bytes(rows)
    nait_index(*map(str, arguments), "--tokens", "600", "--force", "--seed", "1", "--json")
    assert load_sae(out).content_hash != sae.content_hash
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus.jsonl", "own.sae"]


def test_an_index_gives_its_rows_and_its_model(tmp_path: Path, corpus: Path, tiny_model: TinyModels) -> None:
    model = tiny_model("llama")
    build_small(tmp_path / "own.nait", corpus, model=model, max_length=16)
    out = tmp_path / "own.sae"
    arguments = ["sae", "train", str(out), str(tmp_path / "own.nait"), "--latents", "48", "--k", "4", "--layer", "0"]
    assert nait_index(*arguments, "--device", "cpu", "--json").json["tokens"] > 100
    record = json.loads((out / "training.json").read_text())
    assert (record["model"], record["max_length"], record["layer"]) == (str(model), 16, 0)
    message = refusal(*arguments, str(corpus), "--force")
    assert "is an index; give it alone" in message
    moved = shutil.copytree(model, tmp_path / "moved")
    assert nait_index(*arguments, "--model", moved, "--device", "cpu", "--force", "--json").json["tokens"] > 100
    record = json.loads((out / "training.json").read_text())
    assert (record["model"], record["max_length"], record["layer"]) == (str(moved), 16, 0)


def test_an_index_without_a_model_asks_for_one(tmp_path: Path, corpus: Path) -> None:
    built = NaitIndex.build(tmp_path / "own.nait", corpus, signatures=SignatureConfig(views=(View.WORDS,)))
    message = refusal("sae", "train", str(tmp_path / "own.sae"), str(tmp_path / "own.nait"))
    assert "was built without a model; name one with --model" in message
    with pytest.raises(StoreError, match="landmarks need the view pca"):
        built.add_landmarks()


def test_refusals_of_the_command(tmp_path: Path, corpus: Path, tiny_model: TinyModels) -> None:
    model = ("--model", str(tiny_model("llama")), "--device", "cpu")
    start = ("sae", "train", str(tmp_path / "own.sae"))
    assert "this model has layers 0 to 2" in refusal(*start, str(corpus), *model, "--layer", "3")
    assert "no folder" in refusal("sae", "train", str(tmp_path / "no" / "own.sae"), str(corpus), *model)
    assert "must be at least 1" in refusal(*start, str(corpus), *model, "--k", "0")
    (tmp_path / "own.sae").mkdir()
    (tmp_path / "own.sae" / "notes.txt").write_text("mine")
    assert "is not a sparse autoencoder" in refusal(*start, str(corpus), *model, "--force")
    assert (tmp_path / "own.sae" / "notes.txt").read_text() == "mine"

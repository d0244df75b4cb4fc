"""Train the small causal language model that comes with the package: ``python -m tools.demo.train_model``.

A Llama of 4.5 million parameters with a byte-level BPE vocabulary, trained on openly licensed instruction
rows (a JSON-lines file, filtered by its ``source`` field) and on the training split of the demo corpus, which shares no
row with the corpus or its held-out examples. Everything needed to train it again is written beside it in
``training.json``: command, data with its hash, seed, tokens, and the loss curve.
"""

import hashlib
import json
import math
import platform
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from nait_index.errors import CorpusError
from tools.demo.corpus import Split, generate

if TYPE_CHECKING:
    import torch

BEGIN, END = "<s>", "</s>"


@dataclass(frozen=True, slots=True)
class Recipe:
    """Model size and training settings."""

    vocabulary: int = 4096
    hidden: int = 256
    intermediate: int = 640
    layers: int = 5
    heads: int = 4
    kv_heads: int = 2
    context: int = 512
    batch: int = 32
    tokens: int = 12_000_000
    learning_rate: float = 2e-3
    weight_decay: float = 0.1
    warmup_steps: int = 100
    validation_share: float = 0.02
    demo_rows_per_skill: int = 600
    seed: int = 0


def read_texts(data: Path | None, sources: Sequence[str], recipe: Recipe) -> tuple[list[str], dict[str, Any]]:
    """Collect the training texts, shuffled, and facts on where they come from.

    :param data: JSON-lines file of Alpaca rows with a ``source`` field; ``None`` trains on the demo corpus alone.
    :param sources: values of that field to use; a trailing ``*`` matches any ending.
    """
    rows: list[dict[str, str]] = []
    if data is not None:
        every = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines()]
        rows = [row for row in every if any(_matches(row["source"], source) for source in sources)]
        if not rows:
            raise CorpusError(f"{data}: no row has one of the sources {', '.join(sources)}")
    texts = [_text(row) for row in rows]
    demo = [_text(row) for row in generate(Split.TRAIN, recipe.demo_rows_per_skill)]
    facts = {
        "rows": len(texts),
        "sources": list(sources) if data else [],
        "rows_sha256": hashlib.sha256("\0".join(texts).encode()).hexdigest(),
        "demo_rows": len(demo),
        "demo_sha256": hashlib.sha256("\0".join(demo).encode()).hexdigest(),
    }
    texts += demo
    random.Random(recipe.seed).shuffle(texts)
    return texts, facts


def _matches(source: str, wanted: str) -> bool:
    return source.startswith(wanted[:-1]) if wanted.endswith("*") else source == wanted


def _text(row: dict[str, str]) -> str:
    return "\n".join(part for part in (row["instruction"], row["input"], row["output"]) if part)


def train_tokenizer(texts: Sequence[str], recipe: Recipe) -> Any:  # noqa: ANN401 - transformers is untyped here
    """Train a byte-level BPE tokenizer that puts ``<s>`` before every text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocabulary,
        special_tokens=[BEGIN, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", special_tokens=[(BEGIN, tokenizer.token_to_id(BEGIN))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BEGIN, eos_token=END, model_max_length=recipe.context
    )


def make_model(recipe: Recipe) -> Any:  # noqa: ANN401
    """Make a randomly initialised Llama."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=recipe.vocabulary,
            hidden_size=recipe.hidden,
            intermediate_size=recipe.intermediate,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            num_key_value_heads=recipe.kv_heads,
            max_position_embeddings=recipe.context,
            tie_word_embeddings=True,
            bos_token_id=0,
            eos_token_id=1,
        )
    )


def batches(stream: Sequence[np.ndarray], recipe: Recipe) -> Iterator["torch.Tensor"]:
    """Pack texts end to end into (batch, context + 1) blocks, reshuffled every epoch, endlessly."""
    import torch

    rng = np.random.default_rng(recipe.seed)
    size = recipe.batch * (recipe.context + 1)
    left = np.zeros(0, dtype=np.int64)
    while True:
        epoch = np.concatenate([left, *(stream[i] for i in rng.permutation(len(stream)))])
        for start in range(0, len(epoch) - size + 1, size):
            yield torch.from_numpy(epoch[start : start + size].reshape(recipe.batch, -1))
        left = epoch[len(epoch) // size * size :]


class Trainer:
    """AdamW on the next-token loss with warm-up and cosine decay."""

    def __init__(self, model: Any, recipe: Recipe, device: str) -> None:  # noqa: ANN401
        import torch

        self._model = model.to(device)
        self._recipe = recipe
        self._device = device
        matrices = [p for p in model.parameters() if p.dim() > 1]
        vectors = [p for p in model.parameters() if p.dim() <= 1]
        groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        self._optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.95))
        self._steps = max(1, recipe.tokens // (recipe.batch * recipe.context))

    def run(self, train: Sequence[np.ndarray], held_out: "torch.Tensor") -> list[dict[str, float]]:
        """Train, and return the loss curve: tokens, training loss and held-out loss at about twenty points."""
        import torch

        curve: list[dict[str, float]] = []
        every = max(1, self._steps // 20)
        for step, block in zip(range(1, self._steps + 1), batches(train, self._recipe), strict=False):
            for group in self._optimizer.param_groups:
                group["lr"] = self._rate(step)
            loss = self._loss(block)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
            self._optimizer.step()
            self._optimizer.zero_grad(set_to_none=True)
            if step % every == 0 or step == self._steps:
                tokens = step * self._recipe.batch * self._recipe.context
                point = {
                    "tokens": tokens,
                    "train": round(loss.item(), 4),
                    "held_out": round(self.evaluate(held_out), 4),
                }
                curve.append(point)
                click.echo(json.dumps(point), err=True)
        return curve

    def evaluate(self, blocks: "torch.Tensor") -> float:
        """Return the mean loss over held-out blocks (n, context + 1)."""
        import torch

        self._model.eval()
        with torch.inference_mode():
            losses = [self._loss(part).item() for part in blocks.split(self._recipe.batch)]
        self._model.train()
        return sum(losses) / len(losses)

    def _loss(self, block: "torch.Tensor") -> "torch.Tensor":
        import torch

        block = block.to(self._device)
        with torch.autocast(self._device, dtype=torch.bfloat16):
            logits = self._model(input_ids=block[:, :-1], use_cache=False).logits
        return torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), block[:, 1:].flatten())

    def _rate(self, step: int) -> float:
        warmup = min(1.0, step / self._recipe.warmup_steps)
        return self._recipe.learning_rate * warmup * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / self._steps)))


def train(out: Path, data: Path | None, sources: Sequence[str], recipe: Recipe) -> dict[str, Any]:
    """Train tokenizer and model, save both, the model in bfloat16, and record how they were made."""
    import torch
    import transformers

    transformers.set_seed(recipe.seed)
    started = time.time()
    texts, facts = read_texts(data, sources, recipe)
    tokenizer = train_tokenizer(texts, recipe)
    ids = [np.array([*text_ids, tokenizer.eos_token_id]) for text_ids in tokenizer(texts, verbose=False)["input_ids"]]
    held_count = max(1, int(len(ids) * recipe.validation_share))
    held = np.concatenate(ids[:held_count])
    width = min(recipe.context + 1, len(held))
    held_blocks = torch.from_numpy(held[: len(held) // width * width].reshape(-1, width))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = make_model(recipe)
    curve = Trainer(model, recipe, device).run(ids[held_count:], held_blocks)
    model.to("cpu", torch.bfloat16).save_pretrained(out)
    tokenizer.save_pretrained(out)
    # save_pretrained makes the weights readable only by their owner, but a package must be readable by all.
    (out / "model.safetensors").chmod(0o644)
    record = {
        "command": _command(data, sources, recipe),
        "recipe": asdict(recipe),
        "parameters": sum(p.numel() for p in model.parameters()),
        "data": facts | {"training_tokens_unique": int(sum(map(len, ids[held_count:]))), "held_out_tokens": len(held)},
        "device": torch.cuda.get_device_name() if device == "cuda" else f"{platform.machine()} CPU",
        "seconds": round(time.time() - started, 1),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "loss": curve,
    }
    (out / "training.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return record


def _command(data: Path | None, sources: Sequence[str], recipe: Recipe) -> str:
    chosen = f" --data {data.name} " + " ".join(f"--source '{source}'" for source in sources) if data else ""
    return f"python -m tools.demo.train_model OUT{chosen} --tokens {recipe.tokens} --seed {recipe.seed}"


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="JSON-lines file of rows.")
@click.option("--source", "sources", multiple=True, default=("gsm8k_train", "gpteacher_*"), show_default=True)
@click.option("--tokens", type=int, default=Recipe().tokens, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
def main(out: Path, data: Path | None, sources: tuple[str, ...], tokens: int, seed: int) -> None:
    """Train the bundled model into the folder OUT."""
    record = train(out, data, sources, Recipe(tokens=tokens, seed=seed))
    click.echo(json.dumps(record["loss"][-1]))


if __name__ == "__main__":
    main()

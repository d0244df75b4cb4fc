"""A randomly initialised model of Qwen3's shape, with many neurons and a small hidden size."""

from pathlib import Path


def save_shape(folder: Path, layers: int = 28, neurons: int = 3584, hidden: int = 128) -> str:
    """Save it with the bundled model's tokenizer, and give its folder."""
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

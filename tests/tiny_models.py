"""Tiny randomly initialised models of every family, saved like real ones: a whole model with its head, and a tokenizer.

Importing this module imports neither torch nor transformers.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LAYERS = 3
HIDDEN = 32
VOCABULARY = 320
POSITIONS = 256

TEXTS = (
    "Add 17 and 25, then halve the sum. The answer is 21.",
    "def mean(values):\n    return sum(values) / len(values)\n",
    "Übersetze ins Deutsche: the little fox jumps over the sleeping dog.",
    "Yes.",
    "Name three rivers of Europe, longest first: the Volga, the Danube, the Ural. None of them is in Spain.",
    "Summarise the passage in one sentence; leave out the names 🙂.",
    "If all of them are blue and this one is not, then this one is none of them. Is that right?",
    "Rewrite politely: give me the report.",
)
"""What the tokenizers are trained on, and what the tests run: very different lengths, and not only ASCII."""


@dataclass(frozen=True, slots=True)
class Family:
    """How to make one family tiny.

    :param auto: name of the transformers class that makes the whole model, head and all.
    :param settings: of its configuration, beside those of :data:`COMMON`; ``None`` leaves a common one out.
    :param markers: begin and end token that its tokenizer puts around every text.
    """

    model_type: str
    auto: str = "AutoModelForCausalLM"
    settings: Mapping[str, Any] = field(default_factory=dict)
    markers: tuple[str, str] | None = None


COMMON: Mapping[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "intermediate_size": 48,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "max_position_embeddings": POSITIONS,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": None,
}
_GROUPED = {"num_key_value_heads": 2, "head_dim": 8}
_NO_GATE = {"intermediate_size": 4 * HIDDEN}
_NAMELESS = {"hidden_size": None, "intermediate_size": None, "num_hidden_layers": None, "num_attention_heads": None}
_MASKED = {"auto": "AutoModelForMaskedLM", "markers": ("[CLS]", "[SEP]")}
_T5 = _NAMELESS | {
    "max_position_embeddings": None,
    "d_model": HIDDEN,
    "d_ff": 48,
    "d_kv": 8,
    "num_layers": LAYERS,
    "num_heads": 4,
    "pad_token_id": 0,
    "decoder_start_token_id": 0,
}

FAMILIES: Mapping[str, Family] = {
    "llama": Family("llama", settings=_GROUPED),
    "mistral": Family("mistral", settings=_GROUPED | {"sliding_window": 8}),
    "qwen2": Family("qwen2", settings={"num_key_value_heads": 2}),
    "qwen3": Family("qwen3", settings=_GROUPED),
    "gemma2": Family("gemma2", settings=_GROUPED | {"sliding_window": 8, "query_pre_attn_scalar": 8}),
    "gemma3_text": Family("gemma3_text", settings=_GROUPED | {"sliding_window": 8, "query_pre_attn_scalar": 8}),
    "gemma": Family("gemma", settings=_GROUPED),
    "gemma3": Family(
        "gemma3",
        "AutoModelForImageTextToText",
        settings=dict.fromkeys(COMMON)
        | {
            "text_config": {**COMMON, **_GROUPED, "sliding_window": 8, "query_pre_attn_scalar": 8},
            "vision_config": {
                "hidden_size": 16,
                "intermediate_size": 24,
                "num_hidden_layers": LAYERS,
                "num_attention_heads": 2,
                "image_size": 28,
                "patch_size": 14,
            },
            "mm_tokens_per_image": 1,
            "image_token_index": 317,
            "boi_token_index": 318,
            "eoi_token_index": 319,
        },
    ),
    "olmo2": Family("olmo2", settings={"num_key_value_heads": 2}),
    "phi3": Family("phi3", settings={"num_key_value_heads": 2}),
    "phi": Family("phi", settings=_NO_GATE),
    "gpt2": Family(
        "gpt2",
        settings=_NAMELESS
        | {"max_position_embeddings": None, "n_embd": HIDDEN, "n_layer": LAYERS, "n_head": 4, "n_positions": POSITIONS},
    ),
    "gpt_neox": Family("gpt_neox", settings=_NO_GATE),
    "opt": Family(
        "opt",
        settings={"intermediate_size": None, "ffn_dim": 48, "word_embed_proj_dim": HIDDEN, "pad_token_id": 3},
    ),
    "falcon": Family("falcon", settings={"intermediate_size": None, "new_decoder_architecture": False}),
    "falcon_alibi": Family("falcon", settings={"intermediate_size": None, "alibi": True, "bias": True}),
    "bert": Family("bert", settings={"pad_token_id": 3}, **_MASKED),
    "roberta": Family("roberta", settings={"pad_token_id": 3}, **_MASKED),
    "xlm-roberta": Family("xlm-roberta", settings={"pad_token_id": 3}, **_MASKED),
    "distilbert": Family(
        "distilbert",
        settings=_NAMELESS | {"dim": HIDDEN, "hidden_dim": 48, "n_layers": LAYERS, "n_heads": 4, "pad_token_id": 3},
        **_MASKED,
    ),
    "t5": Family("t5", "AutoModelForSeq2SeqLM", settings=_T5 | {"feed_forward_proj": "relu"}),
    "t5_gated": Family("t5", "AutoModelForSeq2SeqLM", settings=_T5 | {"feed_forward_proj": "gated-gelu"}),
    "mixtral": Family("mixtral", settings=_GROUPED | {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "qwen3_moe": Family(
        "qwen3_moe",
        settings=_GROUPED
        | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "mlp_only_layers": [1]},
    ),
    "qwen2_moe": Family(
        "qwen2_moe",
        settings={
            "num_key_value_heads": 2,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 16,
            "shared_expert_intermediate_size": 24,
        },
    ),
    "deepseek_v3": Family(
        "deepseek_v3",
        settings={
            "num_key_value_heads": 4,
            "n_routed_experts": 8,
            "num_experts_per_tok": 2,
            "n_group": 2,
            "topk_group": 1,
            "n_shared_experts": 2,
            "moe_intermediate_size": 16,
            "first_k_dense_replace": 1,
            "q_lora_rank": 16,
            "kv_lora_rank": 16,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 8,
            "v_head_dim": 8,
        },
    ),
    "gpt_oss": Family(
        "gpt_oss",
        settings=_GROUPED
        | {
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "intermediate_size": 16,
            "sliding_window": 8,
            "swiglu_limit": 0.75,
        },
    ),
}


def save_family(name: str, folder: Path, **overrides: Any) -> Path:
    """Make one family's model and tokenizer, the same each time, and save both in a folder.

    :param overrides: settings of its configuration.
    """
    family = FAMILIES[name]
    save_model(family, folder, overrides)
    save_tokenizer(folder, markers=family.markers)
    return folder


def save_model(family: Family, folder: Path, overrides: Mapping[str, Any] | None = None) -> None:
    """Save a whole model, head included, with weights large enough that no neuron is a rounding error."""
    import torch
    import transformers

    wanted = {**COMMON, **family.settings}
    absent = {key for key, value in wanted.items() if value is None and key != "pad_token_id"}
    settings = {key: value for key, value in wanted.items() if key not in absent} | dict(overrides or {})
    config = transformers.AutoConfig.for_model(family.model_type, **settings)
    model = getattr(transformers, family.auto).from_config(config)
    generator = torch.Generator().manual_seed(len(family.model_type))
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() > 1:
                parameter.copy_(noise * 0.25)
            else:
                parameter.add_(noise * 0.1)
        for key, buffer in model.named_buffers():
            if key.endswith("e_score_correction_bias"):
                buffer.copy_(torch.randn(buffer.shape, generator=generator) * 0.1)
    model.save_pretrained(folder)


def save_tokenizer(
    folder: Path,
    texts: Iterable[str] = TEXTS,
    *,
    markers: tuple[str, str] | None = None,
    adjust: Callable[[Any], None] = lambda _: None,
    **settings: Any,
) -> None:
    """Train a byte-level BPE tokenizer and save it; without a padding token.

    :param markers: begin and end token to put around every text. :param adjust: changes it before it is saved.
    :param settings: of the tokenizer that transformers makes of it.
    """
    import tokenizers
    import transformers

    specials = ["<unk>", *(markers or ("<s>", "</s>"))]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=specials,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if markers is not None:
        begin, end = markers
        tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
            single=f"{begin} $A {end}", special_tokens=[(token, tokenizer.token_to_id(token)) for token in markers]
        )
    adjust(tokenizer)
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **settings).save_pretrained(folder)

"""Tiny models of every text family of transformers, made of its default configuration.

Sizes are replaced by small ones wherever a configuration names them. The widths of feed-forward blocks are numbers that
no other part of a model has, so that the audit recognises those blocks by their shapes alone.
"""

import inspect
from collections.abc import Mapping
from typing import Any

HIDDEN, LAYERS, VOCABULARY = 32, 4, 320
DENSE, EXPERT, SHARED = 52, 40, 28

_SIZES: dict[str, int] = {
    **dict.fromkeys(
        """hidden_size d_model n_embd dim emb_dim embed_dim word_embed_proj_dim embedding_size model_dim dim_model
        text_hidden_size out_hidden_size decoder_hidden_size encoder_hidden_size true_hidden_size moe_hidden_size
        intra_bottleneck_size lru_width""".split(),
        HIDDEN,
    ),
    **dict.fromkeys(
        """intermediate_size ffn_dim d_ff encoder_ffn_dim decoder_ffn_dim hidden_dim n_inner d_inner dff dim_ff
        ffn_hidden_size dense_intermediate_size intermediate_size_mlp mlp_hidden_size block_ff_dim""".split(),
        DENSE,
    ),
    **dict.fromkeys(["moe_intermediate_size", "expert_ffn_hidden_size"], EXPERT),
    **dict.fromkeys(
        """shared_expert_intermediate_size shared_intermediate_size moe_shared_expert_intermediate_size
        share_expert_dim""".split(),
        SHARED,
    ),
    **dict.fromkeys(
        """num_hidden_layers num_layers n_layer n_layers encoder_layers decoder_layers num_decoder_layers
        num_encoder_layers""".split(),
        LAYERS,
    ),
    **dict.fromkeys(
        """num_attention_heads n_head n_heads num_heads encoder_attention_heads decoder_attention_heads""".split(), 4
    ),
    **dict.fromkeys(["num_key_value_heads", "num_kv_heads"], 2),
    **dict.fromkeys(["head_dim", "d_kv", "d_head", "attention_head_size", "global_head_dim", "swa_head_dim"], 8),
    **dict.fromkeys("qk_rope_head_dim qk_nope_head_dim v_head_dim state_size ssm_state_size".split(), 8),
    **dict.fromkeys("mamba_d_state num_memory_blocks".split(), 8),
    **dict.fromkeys(["vocab_size", "n_vocab", "text_vocab_size", "vocab_size_per_layer_input"], VOCABULARY),
    **dict.fromkeys(["max_position_embeddings", "n_positions", "n_ctx"], 256),
    **dict.fromkeys("num_experts num_local_experts n_routed_experts moe_num_experts".split(), 4),
    **dict.fromkeys("num_experts_per_tok moe_topk moe_k top_k num_experts_per_token top_k_experts".split(), 2),
    **dict.fromkeys("n_shared_experts num_shared_experts moe_num_shared_experts n_group topk_group".split(), 1),
    **dict.fromkeys(["q_lora_rank", "kv_lora_rank", "lora_rank", "adapter_rank"], 16),
    **dict.fromkeys(["mamba_n_heads", "mamba_num_heads"], 4),
    **dict.fromkeys(["mamba_d_head", "mamba_head_dim"], 16),
    **dict.fromkeys(["n_groups", "mamba_n_groups", "first_k_dense_replace", "num_dense_layers"], 1),
    **dict.fromkeys(["sliding_window", "attention_window_size"], 8),
    "spatial_merge_size": 1,
    "depth": 2,
    "image_size": 28,
    "patch_size": 14,
}
_ROPE = {"rope_type": "default", "rope_theta": 1e4}
_MROPE = {"rope_parameters": _ROPE | {"mrope_section": [2, 1, 1]}}
_BY_KIND = {"rope_parameters": {"full_attention": _ROPE, "sliding_attention": _ROPE}}
_HALF_ROPE = {"text_config": _MROPE | {"partial_rotary_factor": 1.0}}
_SPARSE = {"num_experts": 4, "top_k_experts": 2, "moe_intermediate_size": EXPERT}
_VOCABULARY_MAP = {"<image>": 300, "<|extra_200|>": 301}
# What default configurations of some families lack, or need beside the small sizes.
_ADJUSTED: Mapping[str, dict[str, Any]] = {
    "bailing_hybrid": {"n_group": 1, "num_expert_group": 1},
    "chameleon": {"vocabulary_map": _VOCABULARY_MAP},
    "codegen": {"rotary_dim": 4},
    "cohere_compass": {"text_config": _BY_KIND},
    "cohere_compass_text": _BY_KIND,
    "dbrx": {
        "attn_config": {"rope_theta": 1e4, "kv_n_heads": 2},
        "ffn_config": {"ffn_hidden_size": EXPERT, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "deepseek_ocr2": {"text_config": {"num_experts_per_tok": 2, "mlp_layer_types": ["dense", *["sparse"] * 3]}},
    "deepseek_v2": {"num_experts_per_tok": 2},
    "diffusion_gemma": {"text_config": _SPARSE},
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "emu3": {"vocabulary_map": _VOCABULARY_MAP},
    "esm": {"vocab_size": VOCABULARY, "pad_token_id": 1, "mask_token_id": 2},
    "esmc": {"num_key_value_heads": 4, "vocab_size": VOCABULARY},
    "falcon_h1": {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_ssm": 64, "mamba_expand": 2},
    "funnel": {"architectures": ["FunnelModel"]},
    "gemma3n_text": {"num_kv_shared_layers": 0},
    "gemma4": {"text_config": {"enable_moe_block": True} | _SPARSE},
    "gemma4_text": {"enable_moe_block": True} | _SPARSE,
    "glm46v": _HALF_ROPE,
    "glm4v": _HALF_ROPE,
    "glm4v_moe": {"text_config": {"rope_parameters": _MROPE["rope_parameters"] | {"mrope_section": [1, 1, 0]}}},
    "glm_ocr": _HALF_ROPE,
    "glmga": _HALF_ROPE,
    "gpt_neo": {"attention_types": [[["global", "local"], 2]], "attention_layers": ["global", "local"] * 2},
    "gptj": {"rotary_dim": 4},
    "hunyuan_vl": {"text_config": _MROPE},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv", "full_attention"]},
    "longcat_flash": {"head_dim": 8, "qk_head_dim": 16},
    "mistral4": {"head_dim": 16, "qk_head_dim": 16},
    "nemotron": {"num_key_value_heads": 2},
    "paddleocr_vl": {"text_config": _MROPE},
    "qwen2_5_omni_thinker": {"vision_start_token_id": 302, "vision_end_token_id": 303, "text_config": _MROPE},
    "qwen2_5_vl": {"text_config": _MROPE},
    "qwen2_vl": {"text_config": _MROPE},
    "qwen3_omni_moe_thinker": {"vision_start_token_id": 302, "vision_end_token_id": 303},
    "qwen4_exp_text": {
        "indexer_budget": 8,
        "indexer_compress_ratio": 4,
        "indexer_head_dim": 8,
        "indexer_kv_heads": 1,
        "indexer_n_heads": 2,
    },
    "reformer": {"axial_pos_embds_dim": [8, 24], "axial_pos_shape": [16, 16]},
    "step3p7": {"text_config": {"sliding_window": 8}},
    "xlstm": {"num_blocks": LAYERS},
    "zamba2": {
        "layers_block_type": ["linear_attention", "hybrid"] * 2,
        "hybrid_layer_ids": [1, 3],
        "attention_hidden_size": 64,
        "attention_head_dim": 16,
        "n_mamba_heads": 4,
        "mamba_headdim": 16,
        "num_key_value_heads": 4,
    },
}


def text_families() -> list[str]:
    """Return every ``model_type`` that transformers reads text with: to write, fill in, classify or encode it."""
    from transformers.models.auto import modeling_auto as auto

    mappings = (
        "CAUSAL_LM MASKED_LM SEQ_TO_SEQ_CAUSAL_LM IMAGE_TEXT_TO_TEXT TEXT_ENCODING TOKEN_CLASSIFICATION "
        "SEQUENCE_CLASSIFICATION"
    ).split()
    return sorted({family for name in mappings for family in getattr(auto, f"MODEL_FOR_{name}_MAPPING_NAMES")})


def tiny_config(family: str) -> Any:  # noqa: ANN401 - a configuration of transformers
    """Return the default configuration of a family with small sizes."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    make = CONFIG_MAPPING[family]
    settings = _merge(_shrink(make().to_dict()), _ADJUSTED.get(family, {}))
    unwanted = {"model_type", "transformers_version"}
    return make(**{key: value for key, value in settings.items() if key not in unwanted})


def _merge(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(settings)
    for key, value in changes.items():
        inner = merged.get(key)
        merged[key] = _merge(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


def _shrink(settings: Mapping[str, Any]) -> dict[str, Any]:
    layers = next((settings[k] for k in ("num_hidden_layers", "num_layers", "n_layer") if settings.get(k)), None)
    small = {key: _smaller(key, value, layers) for key, value in settings.items()}
    if "head_dim" in small and small["head_dim"] is None:
        small["head_dim"] = 8
    if "kv_lora_rank" in small:  # latent attention has no groups
        small["num_key_value_heads"] = small["num_attention_heads"]
    return small


def _smaller(key: str, value: Any, layers: int | None) -> Any:  # noqa: ANN401
    if key == "per_layer_config":
        return {str(number): each for number, each in value.items() if int(number) < LAYERS}
    if key == "mrope_section":
        return [2, 1, 1]
    if isinstance(value, dict):
        return _shrink(value) if key.endswith(("config", "parameters", "scaling")) else value
    if isinstance(value, list) and layers is not None and len(value) == layers > LAYERS:
        return [_smaller(key, each, None) for each in _sample(value)]
    if key in _SIZES and isinstance(value, list):
        return [min(each, _SIZES[key]) for each in value]
    if key in _SIZES and isinstance(value, int) and not isinstance(value, bool):
        return min(value, _SIZES[key])
    if key.endswith(("token_id", "token_index")) and isinstance(value, int) and value >= VOCABULARY:
        return VOCABULARY - 1 - len(key) % 19
    if key.endswith("token_id") and isinstance(value, list):
        return [each for each in value if each < VOCABULARY]
    return value


def _sample(kinds: list[Any]) -> list[Any]:
    """Choose one layer of each kind, in order, and fill up from the first."""
    first = {str(kind): number for number, kind in reversed(list(enumerate(kinds)))}
    chosen = sorted(first.values())[:LAYERS]
    chosen += [number for number in range(len(kinds)) if number not in chosen][: LAYERS - len(chosen)]
    return [kinds[number] for number in sorted(chosen)]


def tiny_body(config: Any) -> Any:  # noqa: ANN401
    """Return the bare text model of a configuration, as it is loaded to be captured, with random weights."""
    import torch
    import transformers

    encoder = getattr(config, "is_encoder_decoder", False)
    auto: Any = transformers.AutoModelForTextEncoding if encoder else transformers.AutoModel
    torch.manual_seed(0)
    body = auto.from_config(config).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in body.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() > 1:
                parameter.copy_(noise * 0.2)
            else:
                parameter.add_(noise * 0.05)
    return body


def save_tokenizer(folder: str) -> None:
    """Save a tokenizer whose tokens are bytes."""
    import tokenizers
    import transformers

    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate(["<unk>", "<s>", "</s>", *alphabet])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>").save_pretrained(folder)


def text_inputs(body: Any, length: int = 13) -> dict[str, Any]:  # noqa: ANN401
    """Return the keyword arguments of a forward pass of one text, (1, T) each."""
    import torch

    ids = torch.randint(5, VOCABULARY - 40, (1, length), generator=torch.Generator().manual_seed(2))
    inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if "use_cache" in inspect.signature(body.forward).parameters:
        inputs["use_cache"] = False
    return inputs

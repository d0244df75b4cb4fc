"""The script that repositories of activation-based selection use: hooks, one forward call at a time, then pooling.

It represents the usual way to get one vector per row: the model with its language-model head from
``AutoModelForCausalLM`` (``AutoModel`` for encoders) with ``output_hidden_states=True``, a hook on every down
projection that brings its whole input to the host as numpy, rows in the order of the file, one at a time or in padded
batches of a fixed size, and the mean and the difference of last and first token computed from the arrays after each
call. Nothing is slowed down on purpose: no gradients, the same threads, the same dtype, the same longest input.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer

from nait_index.activations.families import find_sites


class HookScript:
    """The script's model, tokenizer and hooks.

    :param path: folder of the model; :param dtype: name of a torch dtype.
    """

    def __init__(self, path: str, max_length: int, dtype: str = "float32") -> None:
        settings = AutoConfig.from_pretrained(path)
        causal = any("CausalLM" in name for name in settings.architectures or ())
        kind = AutoModelForCausalLM if causal else AutoModel
        self.model = kind.from_pretrained(path, dtype=getattr(torch, dtype)).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(path)
        self.tokenizer.pad_token = self.tokenizer.pad_token or self.tokenizer.eos_token
        self._max_length = max_length
        self._seen: dict[str, np.ndarray] = {}
        body = self.model.base_model
        for site in find_sites(body, settings.model_type, None):
            body.get_submodule(site.path).register_forward_pre_hook(self._keep(site.path))

    def _keep(self, name: str) -> Callable[..., None]:
        def hook(_: Any, args: tuple[Any, ...]) -> None:  # noqa: ANN401
            self._seen[name] = args[0].detach().float().cpu().numpy()

        return hook

    def run(self, texts: Sequence[str], batch: int) -> np.ndarray:
        """Return mean and drift of every neuron, (n, 2, D) float32."""
        return np.concatenate([self._run(texts[start : start + batch]) for start in range(0, len(texts), batch)])

    def _run(self, texts: Sequence[str]) -> np.ndarray:
        inputs = self.tokenizer(
            list(texts), return_tensors="pt", padding=True, truncation=True, max_length=self._max_length
        )
        inputs.pop("token_type_ids", None)
        with torch.no_grad():
            self.model(**inputs, output_hidden_states=True)
        neurons = np.concatenate(list(self._seen.values()), axis=-1)
        pooled = []
        for row, mask in zip(neurons, inputs["attention_mask"].numpy(), strict=True):
            tokens = row[mask.astype(bool)]
            pooled.append(np.stack([tokens.mean(axis=0), tokens[-1] - tokens[0]]))
        return np.stack(pooled)

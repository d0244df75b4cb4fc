"""Fine-tune a model's adapters on a course, by PEFT and the trainer of transformers.

The model is loaded once and never changed: every run adds adapters of its own to it and takes them off afterwards.
"""

import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from nait_index.activations.batches import pad, plan_batches, token_budget
from nait_index.activations.gradients.adapters import linear_layers
from nait_index.activations.loaded import LoadedModel
from nait_index.errors import ModelError, NaitError
from nait_index.proving.lessons import Course
from nait_index.proving.recipe import Recipe
from nait_index.proving.tokens import Lesson

if TYPE_CHECKING:
    import torch

MISSING = "fine-tuning needs PEFT and accelerate: pip install 'nait-index[prove]'"


@contextmanager
def tuned(loaded: LoadedModel, course: Course | None, recipe: Recipe, seed: int) -> Iterator[Any]:
    """Yield the model with adapters trained on a course; without one, the model as it is.

    :raises NaitError: PEFT or accelerate is not installed.
    """
    if course is None:
        yield loaded.module
        return
    try:
        import_module("accelerate")  # the trainer needs it
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise NaitError(f"{MISSING} ({error})") from error
    import torch

    config = LoraConfig(
        r=recipe.rank, lora_alpha=recipe.alpha, lora_dropout=0.0, target_modules=_adapted(loaded.module, recipe.layers)
    )
    # Seeded without a trace outside. The libraries warn of each other's deprecations.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        model: Any = get_peft_model(loaded.module, config)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _train(model, course, recipe, seed, loaded.device)
        yield model.eval()
    finally:
        model.unload()


def _adapted(module: Any, layers: int | None) -> list[str]:  # noqa: ANN401 - a model of transformers
    """Return the paths of the linear layers that get adapters."""
    names: list[str] = linear_layers(module)
    if layers is None:
        return names
    numbers = {name: next((int(part) for part in name.split(".") if part.isdecimal()), -1) for name in names}
    upper = max(numbers.values()) - layers
    return [name for name in names if numbers[name] > upper]


def _train(model: Any, course: Course, recipe: Recipe, seed: int, device: "torch.device") -> None:  # noqa: ANN401
    from transformers import PrinterCallback, Trainer, TrainingArguments

    class LessonTrainer(Trainer):
        """Takes one step on lessons that may need several batches, all tokens of the step weighing the same."""

        def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> "torch.Tensor":  # noqa: ANN401
            model.train()
            lessons = inputs["lessons"]
            tokens = sum(lesson.answer_tokens for lesson in lessons)
            total = 0.0
            for batch in batches(lessons, device):
                loss = answer_losses(model, batch).sum() / tokens
                self.accelerator.backward(loss)
                total = total + loss.detach()
            return total  # type: ignore[return-value]

    steps = len(course.steps)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=steps,
            per_device_train_batch_size=1,
            learning_rate=recipe.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=max(1, round(recipe.warmup * steps)),
            weight_decay=0.0,
            max_grad_norm=1.0,
            optim="adamw_torch",
            seed=seed,
            use_cpu=device.type == "cpu",
            train_sampling_strategy="sequential",
            remove_unused_columns=False,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
        dataset: Any = [{"lessons": step} for step in course.steps]
        trainer = LessonTrainer(model, arguments, data_collator=lambda items: items[0], train_dataset=dataset)
        trainer.remove_callback(PrinterCallback)  # it would print to standard output
        trainer.train()


class Batch:
    """Lessons padded on the right, on the model's device.

    :param numbers: positions of the lessons in the list that they come from.
    """

    def __init__(self, lessons: Sequence[Lesson], numbers: np.ndarray, device: "torch.device") -> None:
        import torch

        ids, mask = pad([lesson.ids for lesson in lessons])
        answer, _ = pad([lesson.answer.astype(np.int64) for lesson in lessons])
        self.numbers = numbers
        self.inputs = {
            "input_ids": torch.from_numpy(ids).to(device),
            "attention_mask": torch.from_numpy(mask).to(device),
        }
        #: (B, T − 1), which positions predict a token that counts; and (m,) those tokens, and whose they are.
        counted = answer[:, 1:].astype(bool)
        self.predicts = torch.from_numpy(counted).to(device)
        self.wanted = torch.from_numpy(ids[:, 1:][counted]).to(device)
        self.rows = numbers[np.nonzero(counted)[0]]


def batches(lessons: Sequence[Lesson], device: "torch.device") -> Iterator[Batch]:
    """Divide lessons into batches of similar length."""
    lengths = np.array([len(lesson.ids) for lesson in lessons])
    for numbers in plan_batches(lengths, token_budget(None, device)):
        yield Batch([lessons[number] for number in numbers], numbers, device)


def answer_logits(model: Any, batch: Batch) -> "torch.Tensor":  # noqa: ANN401 - a model of transformers
    """Return the logits (m, V), float32, at the positions that predict an answer.

    Only these pass through the head: over all positions, logits would be by far the largest tensor.

    :raises ModelError: the model does not call its head as others do.
    """
    from torch.nn.functional import pad as padded

    places = padded(batch.predicts, (0, 1))
    head = model.get_output_embeddings()
    handle = head.register_forward_pre_hook(lambda _, inputs: (inputs[0][places][None], *inputs[1:]))
    try:
        logits: torch.Tensor = model(**batch.inputs, use_cache=False).logits
    finally:
        handle.remove()
    if logits.shape[:2] != (1, len(batch.wanted)):
        raise ModelError("this model does not compute its logits from its output embeddings alone; try another model")
    return logits[0].float()


def wanted_logits(model: Any, batch: Batch) -> "torch.Tensor":  # noqa: ANN401 - a model of transformers
    """Return the positions among the logits of the tokens to predict: (m,) int64."""
    places = getattr(model.get_output_embeddings(), "places", None)
    return batch.wanted if places is None else places[batch.wanted]


def answer_losses(model: Any, batch: Batch) -> "torch.Tensor":  # noqa: ANN401 - a model of transformers
    """Return −log p of every token of the answers: (m,)."""
    from torch.nn.functional import cross_entropy

    return cross_entropy(answer_logits(model, batch), wanted_logits(model, batch), reduction="none")


def narrow_head(model: Any, tokens: np.ndarray) -> None:  # noqa: ANN401 - a model of transformers
    """Let a model predict some tokens only, so that a large vocabulary costs no more than those that occur.

    Losses are then those of a softmax over these tokens, which is the same for all runs that are compared.

    :param tokens: (k,) different token ids.
    """
    import torch

    head = model.get_output_embeddings()
    kept = torch.from_numpy(tokens).to(head.weight.device)
    narrow = torch.nn.Linear(head.in_features, len(tokens), bias=head.bias is not None)
    narrow = narrow.to(head.weight.device, head.weight.dtype).requires_grad_(False)
    with torch.no_grad():
        narrow.weight.copy_(head.weight[kept])
        if head.bias is not None:
            narrow.bias.copy_(head.bias[kept])
    places = torch.full((head.out_features,), -1, device=kept.device)
    places[kept] = torch.arange(len(tokens), device=kept.device)
    narrow.register_buffer("places", places)
    model.set_output_embeddings(narrow)

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

from nait_index.activations.answer_losses import AnswerBatch, answer_logits, has_plain_head
from nait_index.activations.batches import AnswerTokens, plan_batches, token_budget
from nait_index.activations.gradients.adapters import linear_layers, upper_layers
from nait_index.activations.loaded import LoadedModel
from nait_index.errors import NaitError
from nait_index.proving.lessons import Course
from nait_index.proving.recipe import TuningRecipe

if TYPE_CHECKING:
    import torch

MISSING = "fine-tuning needs PEFT and accelerate: pip install 'nait-index[prove]'"


@contextmanager
def tuned(
    loaded: LoadedModel, course: Course | None, recipe: TuningRecipe, seed: int, words: "torch.Tensor | None" = None
) -> Iterator[Any]:
    """Yield the model with adapters trained on a course; without one, the model as it is.

    :param words: that tokens are predicted among, as for :func:`answer_logits`.

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
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=0.0,
        target_modules=upper_layers(loaded.module, linear_layers(loaded.module), recipe.layers)[1],
    )
    # Seeded without a trace outside. The libraries warn of each other's deprecations.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        model: Any = get_peft_model(loaded.module, config)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _train(model, course, recipe, seed, loaded.device, words)
        yield model.eval()
    finally:
        model.unload()


def _train(
    model: Any,  # noqa: ANN401 - a model of transformers
    course: Course,
    recipe: TuningRecipe,
    seed: int,
    device: "torch.device",
    words: "torch.Tensor | None",
) -> None:
    from transformers import PrinterCallback, Trainer, TrainingArguments

    class LessonTrainer(Trainer):
        """Takes one step on lessons that may need several batches, all tokens of the step weighing the same."""

        def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> "torch.Tensor":  # noqa: ANN401
            model.train()
            lessons = inputs["lessons"]
            tokens = sum(lesson.answer_length for lesson in lessons)
            total = 0.0
            for numbers in batches(lessons, device):
                batch = AnswerBatch.of([lessons[number] for number in numbers], device)
                loss = answer_logits(model, batch, words).losses().sum() / tokens
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


def batches(lessons: Sequence[AnswerTokens], device: "torch.device") -> Iterator[np.ndarray]:
    """Divide lessons into batches of similar length, and yield their numbers (b,)."""
    yield from plan_batches(np.array([len(lesson.ids) for lesson in lessons]), token_budget(None, device))


def words_of(loaded: LoadedModel, vocabulary: np.ndarray) -> "torch.Tensor | None":
    """Return the words on the model's device, if its logits can be computed for them alone."""
    import torch

    words = torch.from_numpy(vocabulary).to(loaded.device)
    return words if has_plain_head(loaded.module, words[None, :4]) else None

"""Train a sparse autoencoder for a model on the rows of an index or of corpus files."""

import hashlib
import json
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from nait_index.activations.encoder import Encoder
from nait_index.activations.sae.formats import write_sparsify
from nait_index.activations.sae.sites import SaeSite, SaeSiteKind, site_module
from nait_index.activations.sae.tokens import collect_tokens
from nait_index.activations.sae.training import SaeReport, SaeSettings, train_on
from nait_index.building.settings import recorded_settings
from nait_index.config import Device, Media, ModelConfig, RowRules, Unanswered
from nait_index.corpus import SAMPLE_COLUMNS, RowTemplateError, Template, make_template, read_corpus, restore_sample
from nait_index.errors import ModelError, NaitError
from nait_index.files import check_absent, check_writable, remove_abandoned, together
from nait_index.store.layout import Layout
from nait_index.store.manifest import Manifest, library_versions, load_finished
from nait_index.store.samples import SampleTable
from nait_index.types import Reading, RowFormat, Sample

logger = logging.getLogger(__name__)


def train_sae(
    out: str | Path,
    sources: Sequence[str | Path],
    *,
    model: str | None = None,
    layer: int = -2,
    settings: SaeSettings | None = None,
    template: str | None = None,
    max_length: int | None = None,
    device: Device = Device.AUTO,
    row_format: RowFormat | None = None,
    force: bool = False,
    advance: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> SaeReport:
    """Train a sparse autoencoder on the residual stream after a layer, and write it into a folder, atomically.

    Rows that cannot be used are skipped.

    :param out: folder to create, with ``cfg.json`` and ``sae.safetensors`` in the format of sparsify, and
        ``training.json``.
    :param sources: corpus files, or one index; an index sets the defaults of model, template, longest input and dtype.
    :param model: folder or hub name; by default the index's, or the bundled one.
    :param layer: number of the layer; negative numbers count from the end, by default the penultimate.
    :param template, max_length: as in a build; by default those of the index, or of :class:`ModelConfig`.
    :param force: replace an existing sparse autoencoder. Without it, one that was trained in the same way on the same
        texts is left alone, and its report returned.
    :param advance: called with the name of the stage, how much of it is done, and how much there is in total.
    :raises NaitError: the folder cannot be written, or sources, model or settings cannot be used.
    """
    out, settings = Path(out), settings or SaeSettings()
    known = _check_output(out, force=force)
    manifest = _open_index(sources)
    config = _model(manifest, model, template, max_length, device)
    with Encoder(config) as encoder:
        site = _site(encoder, layer)
        path = site_module(encoder.sites, site, encoder.model.module)
        form = make_template(config.template_name, encoder.model.tokenizer)
        digest, asked = hashlib.blake2b(digest_size=16), _asked(encoder, site, settings)
        texts = _hashed(_texts(sources, manifest, form, config.reading, row_format), digest)
        if known is not None:
            deque(texts, 0)
            return _repeated(out, known, asked | {"texts": digest.hexdigest()})
        tokens = collect_tokens(
            encoder,
            texts,
            path,
            settings.tokens,
            seed=settings.seed,
            add_special_tokens=form.adds_special_tokens,
            advance=lambda done: advance("tokens", done, settings.tokens),
        )
        sae, report = train_on(tokens, site, settings, encoder.model.device, partial(advance, "steps"))
        record = asked | {"report": asdict(report), "content_hash": sae.content_hash, "versions": library_versions()}
        record |= {"texts": digest.hexdigest(), "sources": [str(source) for source in sources]}
    with together() as files, files.folder(out) as folder:
        write_sparsify(folder, sae, path)
        (folder / "training.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    remove_abandoned(out.parent)
    return report


def _check_output(out: Path, *, force: bool) -> dict[str, Any] | None:
    """Return how the autoencoder that is there was trained, if it may not simply be replaced.

    :raises OutputExistsError: there is one of which nothing is known. :raises NaitError: nothing can be written there.
    """
    known = None if force else _known_record(out)
    check_writable(out, force=force or known is not None)
    if out.exists() and not (out / "sae.safetensors").is_file():
        raise NaitError(f"{out}: is not a sparse autoencoder, so it is not replaced; choose another name")
    return known


def _repeated(out: Path, known: dict[str, Any], asked: dict[str, Any]) -> SaeReport:
    """Return the report of the autoencoder that is there.

    :raises OutputExistsError: it was trained in another way, or on other texts.
    """
    if not asked.items() <= known.items():
        check_absent(out, force=False)
    remove_abandoned(out.parent)
    logger.warning("%s is there already, trained in the same way on the same texts; nothing was changed", out)
    return SaeReport(**known["report"])


def _open_index(sources: Sequence[str | Path]) -> Manifest | None:
    """Load the manifest if the source is an index.

    :raises NaitError: there is no source, or an index beside other sources.
    """
    if not sources:
        raise NaitError("no file was given")
    indexes = [source for source in sources if Layout(source).manifest.is_file()]
    if not indexes:
        return None
    if sources[1:]:
        raise NaitError(f"{indexes[0]} is an index; give it alone, or corpus files only")
    return load_finished(Layout(indexes[0]))


def _model(
    manifest: Manifest | None, name: str | None, template: str | None, max_length: int | None, device: Device
) -> ModelConfig:
    config = ModelConfig(device=device)
    if manifest is not None and manifest.fingerprint.signatures.needs_model:
        recorded, _ = recorded_settings(manifest, name, device)
        config = replace(recorded, layers=config.layers, gradient_dtype=None)
    elif manifest is not None and name is None:
        raise NaitError("the index was built without a model; name one with --model")
    elif manifest is not None:
        config = replace(config, **asdict(manifest.reading))
    named: dict[str, Any] = {"name": name, "template": template, "max_length": max_length}
    return replace(config, **{key: value for key, value in named.items() if value is not None})


def _site(encoder: Encoder, layer: int) -> SaeSite:
    count = encoder.layers[-1] + 1
    if not -count <= layer < count:
        raise ModelError(f"--layer {layer}: this model has layers 0 to {count - 1}, or -{count} to -1 from the end")
    return SaeSite(layer % count, SaeSiteKind.RESIDUAL)


def _texts(
    sources: Sequence[str | Path],
    manifest: Manifest | None,
    template: Template,
    reading: Reading,
    row_format: RowFormat | None,
) -> Iterator[str]:
    """Render every usable row."""
    if manifest is None:
        samples = read_corpus(sources, row_format, reading=reading, rules=RowRules(Unanswered.INDEX, Media.TEXT))
    else:
        table = SampleTable(Layout(sources[0]), manifest.table_version)
        samples = (restore_sample(record, reading) for record in table.records(SAMPLE_COLUMNS))
    for sample in samples:
        if isinstance(sample, Sample):
            try:
                yield template.read(sample.parts).text
            except RowTemplateError:
                continue


def _asked(encoder: Encoder, site: SaeSite, settings: SaeSettings) -> dict[str, Any]:
    """Collect what is needed to repeat the training, besides the texts."""
    return {
        "model": encoder.config.name,
        "weights": encoder.model.weights_hash,
        "layer": site.layer,
        "template": encoder.config.template,
        "reasoning": str(encoder.config.reasoning),
        "max_length": encoder.max_length,
        "settings": asdict(settings),
    }


def _known_record(out: Path) -> dict[str, Any] | None:
    """Read how an existing sparse autoencoder was trained; ``None`` if there is none, or nothing is known of it."""
    try:
        record = json.loads((out / "training.json").read_bytes())
        return record if isinstance(record, dict) and "texts" in record else None
    except (OSError, ValueError, RecursionError):
        return None


def _hashed(texts: Iterable[str], digest: "hashlib.blake2b") -> Iterator[str]:
    for text in texts:
        digest.update(f"{len(text)} {text}".encode("utf-8", "surrogatepass"))
        yield text

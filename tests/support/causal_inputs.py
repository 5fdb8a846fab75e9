"""A small run for the tests of the causal study: sentences, noise as speech, encoder stores, rankings."""

import numpy as np
import pandas as pd
from conftest import made_by

from steplens.files.atomic import write_parquet
from steplens.files.audio import write_wav
from steplens.models.neurons import neuron_table
from steplens.models.provenance import provenance
from steplens.models.seamless.loading import load_config
from steplens.ranking.table import Ranking, write_ranking
from steplens.recording.encode import encode
from steplens.speech.takes import file_digest

LANGUAGES = ["deu", "spa", "jpn"]
TEXTS = [
    "der koch",
    "jeden tag im sommer",
    "im winter sucht das mädchen eine lampe",
    "das neue buch",
]
SAMPLES = [16_000, 23_456, 9_999, 31_000]
UTTERANCES = [41, 42, 43, 44]
STEP = 6


def write_inputs(folder, source, batch_size=4):
    """Everything that the stages read, of one language and random rankings, in ``folder``."""
    generator = np.random.default_rng(1)
    corpus = {"utterance": UTTERANCES, "raw_transcription": TEXTS, "text": TEXTS}
    write_parquet(pd.DataFrame(corpus | {"split": "test"}), folder / "corpus.parquet")
    (folder / "speech").mkdir()
    paths = [f"{number}.wav" for number in UTTERANCES]
    for name, length in zip(paths, SAMPLES, strict=True):
        write_wav(folder / "speech" / name, generator.normal(0, 0.1, length).astype(np.float32))
    spoken = pd.DataFrame(
        {
            "utterance": UTTERANCES,
            "path": paths,
            "n_samples": SAMPLES,
            "sha256": [file_digest(folder / "speech" / name) for name in paths],
        }
    )
    write_parquet(spoken, folder / "speech" / "deu.parquet")
    for modality in ("speech", "text"):
        encode(
            source, modality, "deu", folder / "corpus.parquet", folder / "speech" / "deu.parquet",
            folder / f"{modality}.zarr", "float32", batch_size=batch_size, made_by=made_by(source),
        )  # fmt: skip
    config = load_config(source)
    for module in ("decoder", "speech_encoder", "text_encoder"):
        neurons = neuron_table(config, module)
        told = {"module": module}
        names = [(module, LANGUAGES, told)]
        if module == "decoder":
            told |= {"step": STEP}
            names = [("decoder", LANGUAGES, told | {"task": "tr"})]
            for task, label in (("asr", "speech"), ("tr", "text")):
                names.append((label, ["all", *LANGUAGES], told | {"task": task, "label": label}))
        else:
            names.append((f"medians-{module}", ["all"], told))
        for name, rows, condition in names:
            write_ranking(
                folder / "rankings" / f"{name}.zarr", made_ranking(rows, neurons, source, generator),
                condition,
            )  # fmt: skip
    return folder


def made_ranking(rows, neurons, source, generator):
    """Random AP and medians, of the model of ``source``."""
    shape = (len(rows), len(neurons))
    median = 2 * generator.normal(size=shape).astype(np.float32)
    counts = np.full(len(rows), 9)
    told = provenance(source, made_by(source), {})
    return Ranking(rows, generator.random(shape), median, counts, neurons, {}, told)

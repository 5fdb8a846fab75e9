"""Representational similarity of all languages and modalities, at the layers of one condition."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from steplens.jobs.run_stage import run_stage

params, inputs = snakemake.params, snakemake.input


def by_language(name):
    """Language to path, of an input that has one file a language."""
    return dict(zip(params.languages, map(Path, inputs[name]), strict=True))


condition = dict(params.condition)
step = snakemake.wildcards.get("tt")
if step is not None:
    condition["step"] = int(step)
in_bins = inputs.get("corpora") is not None
run_stage(
    snakemake,
    "studies.similarity.measure:similarity",
    stores_speech=by_language("stores_speech"),
    stores_text=by_language("stores_text"),
    condition=condition,
    settings=params.settings,
    threads=snakemake.threads,
    output=Path(snakemake.output[0]),
    left_out=Path(inputs.left_out),
    lengths=(by_language("corpora"), by_language("speech")) if in_bins else None,
    n_length_bins=params.length_bins if in_bins else 1,
)

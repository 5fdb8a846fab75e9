"""The range of rates and ratios over every way to break ties."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steplens.jobs.run_stage import run_stage
from steplens.run.arguments import selection_of

params, inputs = snakemake.params, snakemake.input
pairs = zip(map(Path, inputs.speech), map(Path, inputs.text), strict=True)
run_stage(
    snakemake,
    "steering.tie_sensitivity:tie_sensitivity",
    texts=dict(zip(map(tuple, params.texts), map(Path, inputs.texts), strict=True)),
    rankings=dict(zip(params.steps, pairs, strict=True)),
    outputs={Path(one).stem: Path(one) for one in snakemake.output},
    k=params.k,
    selection=selection_of(snakemake),
    min_source_rate=params.min_source_rate,
    rate_tokens=params.rate_tokens,
    left_out=Path(inputs.left_out),
)

"""Summarises all steered outputs."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steplens.jobs.run_stage import run_stage


def keyed(name):
    """Inputs by the keys that the rule lists beside them."""
    keys = (tuple(key) for key in snakemake.params[name])
    return dict(zip(keys, map(Path, snakemake.input[name]), strict=True))


run_stage(
    snakemake,
    "steering.summary:summarize_steering",
    steered=keyed("steered"),
    unsteered=keyed("unsteered"),
    n_resamples=snakemake.params.n_resamples,
    seed=snakemake.params.seed,
    min_source_rate=snakemake.params.min_source_rate,
    degenerate_tokens=snakemake.params.degenerate_tokens,
    rate_tokens=snakemake.params.rate_tokens,
    outputs={Path(one).stem: Path(one) for one in snakemake.output},
    left_out=Path(snakemake.input.left_out),
)

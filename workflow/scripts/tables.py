"""Writes tables 1 to 4."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steplens.jobs.run_stage import run_stage


def keyed(name):
    """Inputs by the keys that the rule lists beside them."""
    keys = (tuple(key) for key in snakemake.params[name])
    return dict(zip(keys, map(Path, snakemake.input[name]), strict=True))


def by_name(paths):
    """Tables by their names."""
    return {Path(path).stem: Path(path) for path in paths}


run_stage(
    snakemake,
    "steering.paper_tables:write_tables",
    summaries=by_name([*snakemake.input.summaries, snakemake.input.ties]),
    steered=keyed("steered"),
    unsteered=keyed("unsteered"),
    corpora=dict(zip(snakemake.params.languages, map(Path, snakemake.input.corpora), strict=True)),
    pairs=[tuple(pair) for pair in snakemake.params.pairs],
    outputs=by_name(snakemake.output),
)

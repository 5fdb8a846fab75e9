"""Writes the report."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


from steplens.jobs.run_stage import run_stage
from steplens.run.layout import RunLayout

inputs, settings = snakemake.input, snakemake.params.settings
run = RunLayout(Path(snakemake.output[0]).parent)


def by_name(paths):
    """Tables by their names."""
    return {Path(path).stem: Path(path) for path in paths}


def of_study(study):
    """Those of a study, by their names."""
    folder = run.folder(f"{study}_table")
    return by_name(path for path in inputs.studies if Path(path).parent == folder)


run_stage(
    snakemake,
    "report.write:report",
    output=Path(snakemake.output[0]),
    settings=settings,
    tables=by_name(
        [
            *inputs.comparison,
            *inputs.steering,
            *inputs.tables,
            *inputs.sources,
            inputs.speech_quality,
        ]
    ),
    figures={int(of["number"]): path for path, of in run.find("figure", image="svg")},
    studies={study: of_study(study) for study in settings["studies"]},
    speech=[Path(path) for path in inputs.speech],
    store=Path(inputs.store),
)

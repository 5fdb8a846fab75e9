"""steplens: when in generation, and through which neurons, speech and text share a language.

corpus -> speech -> encode -> decode -> capture -> rank -> compare, steer -> tables, figures, report
"""

from pathlib import Path

from snakemake.logging import logger
from snakemake.persistence import MetadataRecord
from snakemake.utils import min_version
from snakemake_interface_executor_plugins.settings import ExecMode

min_version("9.0")


# The demo, unless a configuration is given: that stands on the defaults of its keys alone.
if not workflow.overwrite_configfiles:

    configfile: str(Path(workflow.basedir) / "config" / "config.yaml")


include: "workflow/rules/common.smk"
include: "workflow/rules/studies.smk"
include: "workflow/rules/fetch.smk"
include: "workflow/rules/corpus.smk"
include: "workflow/rules/speech.smk"
include: "workflow/rules/encode.smk"
include: "workflow/rules/decode.smk"
include: "workflow/rules/speech_quality.smk"
include: "workflow/rules/capture.smk"
include: "workflow/rules/rank.smk"
include: "workflow/rules/compare.smk"
include: "workflow/rules/reliability.smk"
include: "workflow/rules/learning_curve.smk"
include: "workflow/rules/steer.smk"
include: "workflow/rules/tables.smk"


for study in CONFIG.studies:

    include: f"workflow/rules/studies/{study}.smk"


include: "workflow/rules/figures.smk"
include: "workflow/rules/compare_speech.smk"
include: "workflow/rules/tie_sensitivity.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/plan.smk"
include: "workflow/rules/verify.smk"


# Once per run, before Snakemake reads its records of past jobs.
if workflow.exec_mode == ExecMode.DEFAULT:
    try:
        for note in check_bookkeeping(MetadataRecord.model_validate, (RESULTS, FETCHED)):
            logger.warning(note)
    except ConfigError as error:
        raise refused(error)


onstart:
    # Not for a dry run or a plan: only what is about to be used must be there. Imported here, since
    # every job reads this file.
    from steplens.config.files import origin_note
    from steplens.errors import DiskSpaceError, StoreError, TableError
    from steplens.files.file_times import settle_future_times
    from steplens.jobs.locks import lock_run
    from steplens.planning.start_checks import READING, check_start

    logger.info(origin_note(CONFIG, workflow.overwrite_configfiles))
    try:
        jobs = list(workflow.dag.needrun_jobs())
        finished = set(workflow.dag.bfs(workflow.dag.dependencies, *jobs)) - set(jobs)
        for note in check_start(
            CONFIG, ENGINE_OF, jobs, RESULTS, workflow.local_exec, finished
        ):
            logger.warning(note)
        if {job.rule.name for job in jobs} - READING:
            lock_run(RESULTS)
            for note in settle_future_times(workflow.dag.jobs, jobs, RESULTS):
                logger.warning(note)
    except (ConfigError, DiskSpaceError, StoreError, TableError) as error:
        raise refused(error)


localrules:
    all,


rule all:
    """The report of the run, and with it every table and figure."""
    default_target: True
    input:
        RUN.report,

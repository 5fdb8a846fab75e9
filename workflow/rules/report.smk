# In: every table and figure of the run. Out: report.html, one file that opens from disk.

from steplens.report.sections import templates


rule report:
    """Everything that was found, in one self-contained page."""
    message:
        "report: {output}"
    input:
        figures=[path for number in FIGURES for path in figure_files(number)],
        comparison=[
            comparison_table(name)
            for name in (
                *STEP_TABLES,
                *RELIABILITY_TABLES,
                LEARNING_CURVE,
                "location",
                "valid_counts",
            )
        ],
        steering=[*(RESULTS / "steering" / f"{name}.csv" for name in SUMMARIES), STEERING_TIES],
        tables=[
            RESULTS / "tables" / f"{name}.csv" for name in (*PAPER_TABLES, "table5", "recognition")
        ],
        store=encoder_store("text", LANGUAGES[0]),
        speech=[speech(lang) for lang in LANGUAGES],
        speech_quality=LEFT_OUT,
        studies=[path for study in CONFIG.studies for path in STUDIES[study]],
        sources=compared_speech if CONFIG.speech.other_engine else [],
    output:
        RESULTS / "report.html",
    log:
        log_of("report"),
    benchmark:
        benchmark_of("report")
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_digest(
            "report.write",
            *(f"studies.{study}.section" for study in CONFIG.studies),
            script="report",
        ),
        template=files_digest(templates(CONFIG.studies)),
        settings=CONFIG.model_dump(),  # not config, which keeps the order in which keys were given
    script:
        "../scripts/report.py"

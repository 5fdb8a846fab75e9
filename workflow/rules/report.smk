# In: every table and figure of the run. Out: report.html, one file that opens from disk.

from steplens.report.sections import templates


rule report:
    """Everything that was found, in one self-contained page."""
    message:
        "report: {output}"
    input:
        figures=[path for number in FIGURES for path in figure_files(number)],
        comparison=[
            RUN.comparison_table(name) for name in (*STEP_TABLES, "location", "valid_counts")
        ],
        steering=[*map(RUN.steering_table, STEERING_SUMMARIES), STEERING_TIES],
        tables=[RUN.table(name) for name in (*PAPER_TABLES, "table5", "recognition")],
        store=encoder_store("text", LANGUAGES[0]),
        speech=[RUN.speech(lang) for lang in LANGUAGES],
        speech_quality=LEFT_OUT,
        studies=[path for study in CONFIG.studies for path in STUDIES[study]],
        sources=compared_speech if CONFIG.speech.other_engine else [],
    output:
        RUN.report,
    log:
        RUN.log("report"),
    benchmark:
        RUN.benchmark("report")
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

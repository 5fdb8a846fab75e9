# In: steering results, decoded sentences, the model config. Out: tables/*.csv, as the paper numbers them.

PAPER_TABLES = ("table1", "table2", "table3", "table4")


rule tables:
    """Tables 1 to 4: control rates, examples, effect ratios, language probabilities."""
    message:
        "tables: 1 to 4"
    input:
        summaries=[RESULTS / "steering" / f"{name}.csv" for name in SUMMARIES],
        ties=STEERING_TIES,
        steered=[steered_texts(*key) for key in STEERED],
        unsteered=[decoding(*key) for key in UNSTEERED],
        corpora=[corpus(lang) for lang in TARGETS],
    output:
        [RESULTS / "tables" / f"{name}.csv" for name in PAPER_TABLES],
    log:
        log_of("tables/tables"),
    benchmark:
        benchmark_of("tables/tables")
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code_digest("steering.paper_tables", script="tables"),
        languages=list(TARGETS),
        steered=STEERED,
        unsteered=UNSTEERED,
        pairs=pairs_of_different_script(),
    script:
        "../scripts/tables.py"


rule table5:
    """Table 5: neurons and parameters of each component, from the model config."""
    message:
        "tables: 5, neurons and parameters"
    input:
        MODEL_FETCHED,
    output:
        RESULTS / "tables" / "table5.csv",
    log:
        log_of("tables/table5"),
    benchmark:
        benchmark_of("tables/table5")
    conda:
        ENVS / "torch.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code_digest("models.components", script="table5"),
        checkpoint=MODEL["checkpoint"],
    script:
        "../scripts/table5.py"


# What translations are set against.
REFERENCES = [split_file(FLEURS, LANGUAGE[CONFIG.output_language], split) for split in SPLITS]


rule recognition:
    """Exact match and character error rate of every task, unsteered."""
    message:
        "tables: recognition and translation quality"
    input:
        corpora=[corpus(lang) for lang in LANGUAGES],
        decodings=[decoding(task, lang) for task in TASKS for lang in LANGUAGES],
        references=fetched(REFERENCES),
        left_out=LEFT_OUT,
    output:
        RESULTS / "tables" / "recognition.csv",
    log:
        log_of("tables/recognition"),
    benchmark:
        benchmark_of("tables/recognition")
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        **told_apart(
            languages=LANGUAGES,
            splits=SPLITS,
            output_language=CONFIG.output_language,
            n_resamples=CONFIG.steering.resamples,
            seed=CONFIG.seed,
        ),
        code=code_digest("steering.summary", script="recognition"),
        references=CONFIG.corpus.revision if FROM_HUB else files_digest(REFERENCES),
        decodings=[(task, lang) for task in TASKS for lang in LANGUAGES],
    script:
        "../scripts/recognition.py"

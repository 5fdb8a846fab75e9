# In: steering results, decoded sentences, the model config. Out: tables/*.csv, as the paper numbers them.


rule tables:
    """Tables 1 to 4: control rates, examples, effect ratios, language probabilities."""
    message:
        "tables: 1 to 4"
    input:
        summaries=[RUN.steering_table(name) for name in STEERING_SUMMARIES],
        ties=STEERING_TIES,
        steered=[RUN.steered_texts(*key) for key in STEERED],
        unsteered=[RUN.decoding(*key) for key in UNSTEERED],
        corpora=[RUN.corpus(lang) for lang in TARGETS],
    output:
        [RUN.table(name) for name in PAPER_TABLES],
    log:
        RUN.log("tables/tables"),
    benchmark:
        RUN.benchmark("tables/tables")
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
        RUN.table("table5"),
    log:
        RUN.log("tables/table5"),
    benchmark:
        RUN.benchmark("tables/table5")
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
        corpora=[RUN.corpus(lang) for lang in LANGUAGES],
        decodings=[RUN.decoding(task, lang) for task in TASKS for lang in LANGUAGES],
        references=fetched(REFERENCES),
        left_out=LEFT_OUT,
    output:
        RUN.table("recognition"),
    log:
        RUN.log("tables/recognition"),
    benchmark:
        RUN.benchmark("tables/recognition")
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

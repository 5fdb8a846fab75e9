# In: rankings of s2t and t2t, and their stores for the bootstrap. Out: comparison/*.csv: where the
# language neurons lie, how far speech and text share them (D7), and how many utterances counted.

# Tables of one step that another rule than compare_step makes, and which.
MADE_ELSEWHERE = dict.fromkeys(RELIABILITY_TABLES, "reliability") | {
    LEARNING_CURVE: "learning_curve"
}


rule compare_step:
    """Speech against text at one step: overlap, Spearman correlation, and a sweep of k (figures 4 to 6)."""
    message:
        "compare: speech with text at step {wildcards.tt}"
    input:
        unpack(two_rankings),
        stores_speech=lambda wildcards: [
            decoder_store("s2t", lang, wildcards.tt) for lang in LANGUAGES
        ],
        stores_text=lambda wildcards: [
            decoder_store("t2t", lang, wildcards.tt) for lang in LANGUAGES
        ],
        left_out=LEFT_OUT,
    output:
        **{table: RUN.step_table(table, "{tt}") for table in COMPARED_TABLES},
    log:
        RUN.log("compare/step-{tt}"),
    benchmark:
        RUN.benchmark("compare/step-{tt}")
    conda:
        ENVS / "analysis.yaml"
    threads: 4
    resources:
        mem_mb=6000,
        runtime=120,
    params:
        **told_apart(
            selection=SELECTION,
            k=CONFIG.comparison.k,
            ks=CONFIG.comparison.k_sweep,
            n_resamples=CONFIG.comparison.resamples,
            seed=CONFIG.seed,
        ),
        code=code_digest("comparison.compare_step", script="compare_step"),
        languages=LANGUAGES,
        include_step_invariant=CONFIG.ranking.include_step_invariant,
    script:
        "../scripts/compare_step.py"


rule gather_comparison:
    """One CSV over all steps."""
    message:
        "compare: gathering {wildcards.table}"
    input:
        lambda wildcards: [RUN.step_table(wildcards.table, step) for step in STEPS],
    output:
        RUN.comparison_table("{table}"),
    log:
        RUN.log("compare/gather/{table}"),
    benchmark:
        RUN.benchmark("compare/gather/{table}")
    wildcard_constraints:
        table="|".join(STEP_TABLES),
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    params:
        code=code_digest("files.gathering", script="gather"),
        parts=lambda wildcards: settings_of_parts(
            getattr(rules, MADE_ELSEWHERE.get(wildcards.table, "compare_step"))
        ),
    script:
        "../scripts/gather.py"


rule locate:
    """In which layers and submodules the top-k neurons lie (figures 2 and 3)."""
    message:
        "compare: where the top {CONFIG.comparison.k} neurons lie"
    input:
        encoders=[encoder_ranking(f"{modality}_encoder") for modality in ("speech", "text")],
        decoders=[decoder_ranking(task, step) for task in TASKS for step in STEPS],
    output:
        RUN.comparison_table("location"),
    log:
        RUN.log("compare/locate"),
    benchmark:
        RUN.benchmark("compare/locate")
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        selection=SELECTION,
        code=code_digest("comparison.location", script="locate"),
        k=CONFIG.comparison.k,
        decoders=[(task, step) for task in TASKS for step in STEPS],
    script:
        "../scripts/locate.py"


rule count_valid:
    """How many utterances were valid at each step (D3)."""
    message:
        "compare: counting valid utterances"
    input:
        stores=[
            decoder_store(task, lang, step)
            for task in TASKS
            for lang in LANGUAGES
            for step in STEPS
        ],
        left_out=LEFT_OUT,
    output:
        RUN.comparison_table("valid_counts"),
    log:
        RUN.log("compare/count_valid"),
    benchmark:
        RUN.benchmark("compare/count_valid")
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_digest("steering.summary", script="count_valid"),
        stores=[(task, lang, step) for task in TASKS for lang in LANGUAGES for step in STEPS],
    script:
        "../scripts/count_valid.py"

# In: rankings of s2t and t2t, and their stores for the bootstrap. Out: comparison/*.csv: where the
# language neurons lie, how far speech and text share them (D7), and how many utterances counted.

STEP_TABLES = ("overlap", "overlap_summary", "spearman", "spearman_summary", "sensitivity")


rule compare_overlap:
    """Overlap of the top-k sets of speech and text at one step (figure 4)."""
    message:
        "compare: overlap at step {wildcards.tt}, k = {CONFIG.comparison.k}"
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
        overlap=step_table("overlap"),
        summary=step_table("overlap_summary"),
    log:
        log_of("compare/overlap/step-{tt}"),
    benchmark:
        benchmark_of("compare/overlap/step-{tt}")
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        code=code_digest("comparing"),
        languages=LANGUAGES,
        k=CONFIG.comparison.k,
        include_step_invariant=CONFIG.ranking.include_step_invariant,
        n_resamples=CONFIG.comparison.resamples,
        seed=CONFIG.seed,
    script:
        "../scripts/compare_overlap.py"


rule compare_spearman:
    """Spearman correlation of AP over all neurons at one step (figure 5)."""
    message:
        "compare: Spearman correlation at step {wildcards.tt}"
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
        spearman=step_table("spearman"),
        summary=step_table("spearman_summary"),
    log:
        log_of("compare/spearman/step-{tt}"),
    benchmark:
        benchmark_of("compare/spearman/step-{tt}")
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        code=code_digest("comparing"),
        languages=LANGUAGES,
        include_step_invariant=CONFIG.ranking.include_step_invariant,
        n_resamples=CONFIG.comparison.resamples,
        seed=CONFIG.seed,
    script:
        "../scripts/compare_spearman.py"


rule compare_sensitivity:
    """The diagonal ratio over a sweep of k at one step (figure 6)."""
    message:
        "compare: sensitivity to k at step {wildcards.tt}"
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
        step_table("sensitivity"),
    log:
        log_of("compare/sensitivity/step-{tt}"),
    benchmark:
        benchmark_of("compare/sensitivity/step-{tt}")
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        code=code_digest("comparing"),
        languages=LANGUAGES,
        include_step_invariant=CONFIG.ranking.include_step_invariant,
        n_resamples=CONFIG.comparison.resamples,
        seed=CONFIG.seed,
        ks=CONFIG.comparison.k_sweep,
    script:
        "../scripts/compare_sensitivity.py"


rule gather_comparison:
    """One CSV over all steps."""
    message:
        "compare: gathering {wildcards.table}"
    input:
        lambda wildcards: [step_table(wildcards.table, f"{step:02d}") for step in STEPS],
    output:
        RESULTS / "comparison" / "{table}.csv",
    log:
        log_of("compare/gather/{table}"),
    benchmark:
        benchmark_of("compare/gather/{table}")
    wildcard_constraints:
        table="|".join(STEP_TABLES),
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    params:
        code=code_digest("gathering"),
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
        RESULTS / "comparison" / "location.csv",
    log:
        log_of("compare/locate"),
    benchmark:
        benchmark_of("compare/locate")
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        code=code_digest("location"),
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
        RESULTS / "comparison" / "valid_counts.csv",
    log:
        log_of("compare/count_valid"),
    benchmark:
        benchmark_of("compare/count_valid")
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_digest("summarizing"),
        stores=[(task, lang, step) for task in TASKS for lang in LANGUAGES for step in STEPS],
    script:
        "../scripts/count_valid.py"

# In: rankings of s2t and t2t, and their stores. Out: comparison/stability.csv and null_ratio.csv (through
# rule gather_comparison): do halves of the utterances show the same neurons, and would shuffled labels?


rule reliability:
    """Split halves and shuffled labels at one step (figure 11)."""
    message:
        "compare: split halves and shuffled labels at step {wildcards.tt}"
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
        **{table: RUN.step_table(table, "{tt}") for table in RELIABILITY_TABLES},
    log:
        RUN.log("reliability/step-{tt}"),
    benchmark:
        RUN.benchmark("reliability/step-{tt}")
    conda:
        ENVS / "analysis.yaml"
    threads: 4
    resources:
        mem_mb=6000,
        runtime=240,
    params:
        **told_apart(
            selection=SELECTION,
            k=CONFIG.comparison.k,
            n_splits=CONFIG.comparison.splits,
            n_shuffles=CONFIG.comparison.shuffles,
            seed=CONFIG.seed,
        ),
        code=code_digest("comparison.reliability", script="reliability"),
        languages=LANGUAGES,
        include_step_invariant=CONFIG.ranking.include_step_invariant,
    script:
        "../scripts/reliability.py"

# In: stores of s2t and t2t. Out: comparison/learning_curve.csv (through rule gather_comparison): would more
# sentences give another ratio, and the steps another order?


rule learning_curve:
    """Diagonal ratio and split halves over growing subsets of the sentences, at one step (figure 20)."""
    message:
        "compare: learning curve at step {wildcards.tt}"
    input:
        stores_speech=lambda wildcards: [
            decoder_store("s2t", lang, wildcards.tt) for lang in LANGUAGES
        ],
        stores_text=lambda wildcards: [
            decoder_store("t2t", lang, wildcards.tt) for lang in LANGUAGES
        ],
        left_out=LEFT_OUT,
    output:
        RUN.step_table(LEARNING_CURVE, "{tt}"),
    log:
        RUN.log("learning_curve/step-{tt}"),
    benchmark:
        RUN.benchmark("learning_curve/step-{tt}")
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
            n_subsets=CONFIG.comparison.subsets,
            n_splits=CONFIG.comparison.splits,
            seed=CONFIG.seed,
        ),
        code=code_digest("comparison.learning_curve", script="learning_curve"),
        languages=LANGUAGES,
        include_step_invariant=CONFIG.ranking.include_step_invariant,
    script:
        "../scripts/learning_curve.py"

# In: FLEURS, as published. Out: corpus/<language>.parquet, the sentences of one language.


rule corpus:
    """Choose the sentences of one language in a seeded order (D14)."""
    message:
        "corpus: choosing {CONFIG.corpus.n_utterances} sentences of {wildcards.lang}"
    input:
        fetched_splits,
    output:
        RUN.corpus("{lang}"),
    log:
        RUN.log("corpus/{lang}"),
    benchmark:
        RUN.benchmark("corpus/{lang}")
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        **told_apart(
            splits=SPLITS,
            n_utterances=CONFIG.corpus.n_utterances,
            seed=CONFIG.seed,
            parallel_over=CONFIG.corpus.parallel_over,
        ),
        code=code_digest("corpus.sentences", script="corpus"),
        tsv=splits_digest,
        script_of_language=lambda wildcards: LANGUAGE[wildcards.lang].script,
    script:
        "../scripts/corpus.py"

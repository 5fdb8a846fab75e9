# In: FLEURS, as published. Out: corpus/<language>.parquet, the sentences of one language.


rule corpus:
    """Choose the sentences of one language in a seeded order (D14)."""
    message:
        "corpus: choosing {CONFIG.corpus.n_utterances} sentences of {wildcards.lang}"
    input:
        tsv=ancient(split_files),
    output:
        corpus("{lang}"),
    log:
        log_of("corpus/{lang}"),
    benchmark:
        benchmark_of("corpus/{lang}")
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_digest("corpus"),
        tsv=splits_digest,
        folder=str(FLEURS),
        splits=SPLITS,
        n_utterances=CONFIG.corpus.n_utterances,
        seed=CONFIG.seed,
        parallel_over=CONFIG.corpus.parallel_over,
    script:
        "../scripts/corpus.py"

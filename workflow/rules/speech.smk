# In: corpus/<language>.parquet. Out: speech/<language>.parquet and its audio, 16 kHz WAV.


rule speech:
    """Speak every sentence of one language (D13)."""
    message:
        "speech: speaking {wildcards.lang} with {CONFIG.speech.engine}"
    input:
        corpus=corpus("{lang}"),
    output:
        RESULTS / "speech" / "{lang}.parquet",
    log:
        log_of("speech/{lang}"),
    benchmark:
        benchmark_of("speech/{lang}")
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        code=code_digest("speech", "espeak"),
        engine=CONFIG.speech.engine,
        words_per_minute=CONFIG.speech.words_per_minute,
    script:
        "../scripts/speech.py"

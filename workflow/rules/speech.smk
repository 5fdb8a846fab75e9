# In: corpus/<language>.parquet. Out: speech/<language>.parquet and its audio, 16 kHz WAV. One rule an
# engine; the config says which languages each one speaks.


rule speech_espeak:
    """Speak every sentence of one language with eSpeak NG (D13)."""
    message:
        "speech: speaking {wildcards.lang} with eSpeak NG"
    input:
        corpus=corpus("{lang}"),
    output:
        speech("{lang}"),
    log:
        log_of("speech/{lang}"),
    benchmark:
        benchmark_of("speech/{lang}")
    wildcard_constraints:
        lang=spoken_by("espeak"),
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        code=code_digest("speech", "engines.espeak"),
        engine="espeak",
        settings=CONFIG.speech.espeak.model_dump(),
        checks=AUDIO_CHECKS,
        first_attempts=first_attempts,
        seed=CONFIG.seed,
    script:
        "../scripts/speech.py"


rule speech_xtts:
    """Speak every sentence of one language with XTTS v2 (D13)."""
    message:
        "speech: speaking {wildcards.lang} with XTTS v2"
    input:
        XTTS_FETCHED,
        corpus=corpus("{lang}"),
    output:
        speech("{lang}"),
    log:
        log_of("speech/{lang}"),
    benchmark:
        benchmark_of("speech/{lang}")
    wildcard_constraints:
        lang=spoken_by("xtts"),
    conda:
        ENVS / "xtts.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=720,
        gpu=0 if CONFIG.speech.xtts.device == "cpu" else 1,
    params:
        code=code_digest("speech", "engines.xtts"),
        engine="xtts",
        settings=XTTS,
        checks=AUDIO_CHECKS,
        first_attempts=first_attempts,
        seed=CONFIG.seed,
    script:
        "../scripts/speech.py"


rule speech_recorded:
    """Take the recordings of one language out of FLEURS (D13)."""
    message:
        "speech: taking the recordings of {wildcards.lang}"
    input:
        corpus=corpus("{lang}"),
        audio=ancient(recordings),
    output:
        speech("{lang}"),
    log:
        log_of("speech/{lang}"),
    benchmark:
        benchmark_of("speech/{lang}")
    wildcard_constraints:
        lang=spoken_by("recorded"),
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=code_digest("speech", "engines.recorded"),
        engine="recorded",
        settings=recordings_of,
        checks=AUDIO_CHECKS,
        first_attempts=first_attempts,
        seed=CONFIG.seed,
    script:
        "../scripts/speech.py"

# In: corpus/<language>.parquet. Out: speech/<language>.parquet and its audio, 16 kHz WAV. One rule an
# engine; the config says which languages each one speaks.


rule speech_espeak:
    """Speak every sentence of one language with eSpeak NG (D13)."""
    message:
        "speech: speaking {wildcards.lang} with eSpeak NG"
    input:
        corpus=RUN.corpus("{lang}"),
    output:
        RUN.speech("{lang}"),
    log:
        RUN.log("speech/{lang}"),
    benchmark:
        RUN.benchmark("speech/{lang}")
    wildcard_constraints:
        lang=spoken_by("espeak"),
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        code=code_digest("speech.speak", "speech.engines.espeak", script="speech"),
        libraries=libraries("analysis", "espeakng-loader", "scipy"),
        spelling=libraries("analysis", "num2words", "confusable-homoglyphs"),
        engine="espeak",
        language=lambda wildcards: LANGUAGE[wildcards.lang].espeak,
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
        corpus=RUN.corpus("{lang}"),
    output:
        RUN.speech("{lang}"),
    log:
        RUN.log("speech/{lang}"),
    benchmark:
        RUN.benchmark("speech/{lang}")
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
        code=code_digest("speech.speak", "speech.engines.xtts", script="speech"),
        libraries=libraries("xtts", "coqui-tts", "torch", "transformers"),
        spelling=libraries("xtts", "num2words", "confusable-homoglyphs"),
        engine="xtts",
        language=lambda wildcards: LANGUAGE[wildcards.lang].xtts,
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
        corpus=RUN.corpus("{lang}"),
        audio=fetched_recordings,
    output:
        RUN.speech("{lang}"),
    log:
        RUN.log("speech/{lang}"),
    benchmark:
        RUN.benchmark("speech/{lang}")
    wildcard_constraints:
        lang=spoken_by("recorded"),
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=code_digest("speech.speak", "speech.engines.recorded", script="speech"),
        libraries=libraries("analysis", "soundfile", "scipy"),
        spelling=libraries("analysis", "num2words", "confusable-homoglyphs"),
        engine="recorded",
        language=lambda wildcards: LANGUAGE[wildcards.lang].fleurs,
        settings=recordings_of,
        checks=AUDIO_CHECKS,
        first_attempts=first_attempts,
        seed=CONFIG.seed,
    script:
        "../scripts/speech.py"

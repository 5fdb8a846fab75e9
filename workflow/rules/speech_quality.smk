# In: speech/, and what asr makes of it. Out: tables/speech_quality.csv: which utterances are spoken
# badly, and which of them statistics leave out.


localrules:
    resynthesise,


rule speech_quality:
    """Flag utterances by the checks of their audio and by the error rate of the model's own asr."""
    message:
        "speech: which utterances are spoken badly"
    input:
        corpora=[RUN.corpus(lang) for lang in LANGUAGES],
        speech=[RUN.speech(lang) for lang in LANGUAGES],
        decodings=[RUN.decoding(IDENTIFICATION_TASK, lang) for lang in LANGUAGES],
    output:
        LEFT_OUT,
    log:
        RUN.log("speech_quality"),
    benchmark:
        RUN.benchmark("speech_quality")
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_digest("speech.quality", script="speech_quality"),
        languages=LANGUAGES,
        max_cer=CONFIG.speech.checks.max_cer,
        leave_out_flagged=CONFIG.speech.checks.leave_out_flagged,
    script:
        "../scripts/speech_quality.py"


rule resynthesise:
    """Ask for other takes of the flagged utterances; the next run makes them."""
    message:
        "speech: asking for other takes of flagged utterances"
    input:
        LEFT_OUT,
    log:
        RUN.log("resynthesise"),
    conda:
        ENVS / "analysis.yaml"
    params:
        folder=str(RUN.folder("speech")),
    script:
        "../scripts/resynthesise.py"

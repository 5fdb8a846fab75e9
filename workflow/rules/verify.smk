# In: the configuration, and what lies in results/. Out: nothing but text: what is damaged, lost or not
# what this configuration would have made. Nothing is changed, and nothing is run again by it.


# Rules whose results keep which model and which code made them.
WITH_MODEL = (
    "encode_speech",
    "encode_text",
    "decode",
    "capture",
    "steer",
    "steer_ties",
    "causal_decoder",
    "causal_speech_encoder",
    "causal_text_encoder",
)


localrules:
    verify,


rule verify:
    """Read everything that lies in the results and say what is wrong (docs/running/integrity.md)."""
    message:
        "verify: reading everything in {RESULTS}"
    log:
        ".snakemake/log/verify.log",
    conda:
        ENVS / "analysis.yaml"
    threads: workflow.cores or 1
    params:
        results=str(RESULTS),
        languages=LANGUAGES,
        tasks=list(TASKS),
        steps=STEPS,
        made_by={
            name: {"model": dict(MODEL), "code": getattr(rules, name).params.code}
            for name in WITH_MODEL
            if name in [rule.name for rule in workflow.rules]
        },
        made_now=lambda wildcards: made_now(),
        expected=lambda wildcards: made_for([RUN.report, *made_now()]),
        dtype=CONFIG.store.dtype,
        n_utterances=CONFIG.corpus.n_utterances,
        fixed_seconds=CONFIG.encoding.fixed_seconds,
    script:
        "../scripts/verify.py"

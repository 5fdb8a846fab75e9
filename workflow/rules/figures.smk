# In: comparison/*.csv and steering/*.csv. Out: figures/figure2 … figure9 and figure11, each as SVG and PNG.
# Figures 2 to 6 are the paper's; the others show what the paper has as tables only, or not at all. Figure
# 10 is drawn by rule figure_sources, where there is a second source of speech.


FIGURES = {
    2: {"location_csv": comparison_table("location")},
    3: {"location_csv": comparison_table("location")},
    4: {
        "overlap_csv": comparison_table("overlap"),
        "summary_csv": comparison_table("overlap_summary"),
    },
    5: {
        "spearman_csv": comparison_table("spearman"),
        "summary_csv": comparison_table("spearman_summary"),
    },
    6: {"sensitivity_csv": comparison_table("sensitivity")},
    7: {"rates_csv": RESULTS / "steering" / "control_rates.csv"},
    8: {"quality_csv": RESULTS / "steering" / "quality.csv"},
    9: {"speech_csv": LEFT_OUT},
    11: {
        "stability_csv": comparison_table("stability"),
        "null_csv": comparison_table("null_ratio"),
        "summary_csv": comparison_table("overlap_summary"),
    },
}


rule figure:
    """Draw one figure from its CSVs."""
    message:
        "figures: drawing figure {wildcards.number}"
    input:
        unpack(lambda wildcards: FIGURES[int(wildcards.number)]),
    output:
        svg=RESULTS / "figures" / "figure{number}.svg",
        png=RESULTS / "figures" / "figure{number}.png",
    log:
        log_of("figures/figure{number}"),
    benchmark:
        benchmark_of("figures/figure{number}")
    wildcard_constraints:
        number="[2-9]|11",
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_digest("drawing", script="figure"),
        number=lambda wildcards: int(wildcards.number),
    script:
        "../scripts/figure.py"

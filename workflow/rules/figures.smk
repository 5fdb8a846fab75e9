# In: comparison/*.csv, steering/*.csv, and the tables of the neighbouring studies. Out: figures/figure<n>,
# each as SVG and PNG. Figures 2 to 6 are the paper's; 7 to 11 and 20 show what the paper has as tables only, or
# not at all; 12 to 19 are of the neighbouring studies, whose rules files add them. Figure 10 is drawn by
# rule figure_sources, where there is a second source of speech.


FIGURES |= {
    2: Drawing("figures.drawing:figure2", {"location_csv": RUN.comparison_table("location")}),
    3: Drawing("figures.drawing:figure3", {"location_csv": RUN.comparison_table("location")}),
    4: Drawing(
        "figures.drawing:figure4",
        {
            "overlap_csv": RUN.comparison_table("overlap"),
            "summary_csv": RUN.comparison_table("overlap_summary"),
        },
    ),
    5: Drawing(
        "figures.drawing:figure5",
        {
            "spearman_csv": RUN.comparison_table("spearman"),
            "summary_csv": RUN.comparison_table("spearman_summary"),
        },
    ),
    6: Drawing("figures.drawing:figure6", {"sensitivity_csv": RUN.comparison_table("sensitivity")}),
    7: Drawing("figures.drawing:figure7", {"rates_csv": RUN.steering_table("control_rates")}),
    8: Drawing("figures.drawing:figure8", {"quality_csv": RUN.steering_table("quality")}),
    9: Drawing("figures.drawing:figure9", {"speech_csv": LEFT_OUT}),
    11: Drawing(
        "figures.drawing:figure11",
        {
            "stability_csv": RUN.comparison_table("stability"),
            "null_csv": RUN.comparison_table("null_ratio"),
            "summary_csv": RUN.comparison_table("overlap_summary"),
        },
    ),
    20: Drawing("figures.drawing:figure20", {"curve_csv": RUN.comparison_table(LEARNING_CURVE)}),
}


rule figure:
    """Draw one figure from its CSVs."""
    message:
        "figures: drawing figure {wildcards.number}"
    input:
        unpack(lambda wildcards: drawing_of(wildcards).tables),
    output:
        svg=RUN.figure("{number}", "svg"),
        png=RUN.figure("{number}", "png"),
    log:
        RUN.log("figures/figure{number}"),
    benchmark:
        RUN.benchmark("figures/figure{number}")
    wildcard_constraints:
        number="|".join(map(str, FIGURES)),
    conda:
        ENVS / "analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=lambda wildcards: code_digest(
            drawing_of(wildcards).stage.split(":")[0], script="figure"
        ),
        stage=lambda wildcards: drawing_of(wildcards).stage,
    script:
        "../scripts/figure.py"

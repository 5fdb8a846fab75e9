# In: the configuration, and what lies in results/. Out: nothing but text: jobs, disk and time by stage,
# before anything runs.


localrules:
    plan,


rule plan:
    """Say what this configuration would run and cost; changes nothing (docs/running/planning.md)."""
    message:
        "plan: two dry runs"
    log:
        ".snakemake/log/plan.log",
    run:
        from steplens.planning.plan import print_plan

        print_plan(
            CONFIG,
            ENGINE_OF,
            workflow.main_snakefile,
            [str(one) for one in workflow.dag_settings.rerun_triggers],
            RESULTS,
            FLEURS,
            FETCHED,
        )

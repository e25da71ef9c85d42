# The jobs of a study, in one pass: cells -> runs, ablations -> tables -> pages, chapters -> book. Started by
# `zeroshot run STUDY` and `zeroshot book STUDY`, on cores here or on a cluster through a profile.
#
# Which jobs there are stands in plan.json, and what each depends on in a plan file of its own (notebook,
# parameters, cards, code, packages). `zeroshot.study.plan` has written both and rewrites only what changed.
#
# No input is `ancient`: where every job that reads the output of a repeated job says so, Snakemake leaves out
# all that lies behind it, also what has other reasons to run (snakemake/snakemake#4166). A job that is repeated
# finds what it computed before in the store, by its key.
import json
import re
import shlex
import sys
from pathlib import Path

STUDY = config["study"]
POLICY = config.get("policy", "reuse")
BUILD = f"build/studies/{STUDY}"
# Instead of the shell, and ended with Snakemake, see zeroshot.runtime.processes.
PYTHON = f"exec {shlex.quote(sys.executable)} -m zeroshot.runtime"
# In a copy of a process that has imported what such jobs need, see zeroshot.runtime.copies.
JOB = f"{PYTHON}.copies zeroshot.study"
PAGE = f"{PYTHON}.copies zeroshot.notebooks"

PLAN = json.loads(Path(f"{BUILD}/plan.json").read_text())
RUNS = list(PLAN["runs"])
SLOW = "|".join(sorted({re.escape(run.split("/")[-1]) for run in RUNS if PLAN["runs"][run]["slow"]}))
DATASETS_RUN = sorted({run.split("/")[1] for run in RUNS})
UNITS = PLAN["ablations"]
MAPPINGS = expand(f"{BUILD}/{{mapping}}/mapping.csv", mapping=PLAN["mappings"])
CHAPTERS = PLAN["chapters"]
RUN_TABLES = [f"{BUILD}/{{run}}/{table}.csv" for table in PLAN["run_tables"]]
STUDY_TABLES = [f"{BUILD}/{table}.csv" for table in PLAN["tables"]]
UNIT_TABLES = [f"{BUILD}/ablations/{{unit}}/{table}.csv" for table in PLAN["ablation_tables"]]
ABLATIONS = [f"{BUILD}/ablations/{table}.csv" for table in PLAN["ablation_tables"]]


# Priorities, in the end the order: cells and the runs of one data set 5, other slow runs and UMAPs 4, quick runs 3,
# mappings, ablations, trials, tables and chapters that wait for no run 2, other chapters 1, pages of runs 0. So what
# many jobs wait for comes first, long jobs are left for the other core meanwhile, and the shortest come last.
wildcard_constraints:
    dataset="[^/]+",
    model="[^/]+",
    reference="[^/]+",
    query="[^/]+",
    chapter="[^/]+",
    part="[^/]+",


def executed(pages):
    return expand(f"{BUILD}/executed/{{page}}.ipynb", page=pages)


def read_by_chapter(wildcards):
    """The tables that a chapter declares; the cells it reads, and the embeddings and UMAPs."""
    chapter = CHAPTERS[wildcards.chapter]
    tables = [f"{BUILD}/{table}.csv" for table in chapter["reads"]]
    tables += ABLATIONS if chapter["ablations"] else []
    tables += [f"{BUILD}/{part}.csv" for part in PLAN["trial"]] if chapter["trial"] else []
    cells = expand(f"{BUILD}/cells/{{dataset}}.json", dataset=PLAN["datasets"]) if chapter["cells"] else []
    umaps = expand(f"{BUILD}/umaps/{{dataset}}.json", dataset=DATASETS_RUN) if chapter["umaps"] else []
    return [*tables, *cells, *umaps]


def runs_of_dataset(wildcards):
    return expand(RUN_TABLES, run=[run for run in RUNS if run.split("/")[1] == wildcards.dataset])


rule pages:
    input:
        STUDY_TABLES,
        executed(RUNS),
        executed(f"notebooks/{name}" for name in CHAPTERS),


rule cells:
    input:
        f"{BUILD}/plans/cells/{{dataset}}.json",
    output:
        f"{BUILD}/cells/{{dataset}}.json",
    threads: 1
    priority: 5
    resources:
        mem_mb=16000,
        runtime=240,
    message:
        "cells of {wildcards.dataset}"
    shell:
        JOB + f" cells {POLICY} {{threads}} {{input:q}} {{output:q}}"


if SLOW:

    # Started first: one that begins last would keep the other cores waiting.
    rule slow_run:
        input:
            f"{BUILD}/plans/runs/{{dataset}}/{{model}}.json",
            f"{BUILD}/cells/{{dataset}}.json",
        output:
            expand(RUN_TABLES, run=f"runs/{{dataset}}/{{model}}", allow_missing=True),
        wildcard_constraints:
            model=SLOW,
        params:
            directory=lambda wildcards: f"{BUILD}/runs/{wildcards.dataset}/{wildcards.model}",
        threads: 1
        priority: 4
        resources:
            mem_mb=16000,
            runtime=1440,
        message:
            "run {wildcards.model} on {wildcards.dataset}"
        shell:
            JOB + f" run {POLICY} {{threads}} {{input[0]:q}} {{params.directory:q}}"

    # The runs of one data set before those of others: its UMAPs compile umap-learn, half a minute of CPU, while
    # the others run. Where all runs end together, UMAPs of all data sets start together, and all compile it.
    use rule slow_run as first_slow_run with:
        wildcard_constraints:
            dataset=re.escape(DATASETS_RUN[0]),
            model=SLOW,
        priority: 5

    ruleorder: first_slow_run > slow_run


# The quick runs of a data set in one process, so that imports and compilation are paid for once. A rule for each
# data set, since only a fixed list can be the output of one.
for number, dataset in enumerate(DATASETS_RUN):
    of_dataset = [run for run in RUNS if run.split("/")[1] == dataset]
    if quick := [run for run in of_dataset if not PLAN["runs"][run]["slow"]]:

        rule:
            name:
                f"quick_runs_{number}"
            input:
                expand(f"{BUILD}/plans/{{run}}.json", run=quick),
                f"{BUILD}/cells/{dataset}.json",
            output:
                expand(RUN_TABLES, run=quick),
            params:
                jobs=[word for run in quick for word in (f"{BUILD}/plans/{run}.json", f"{BUILD}/{run}")],
            threads: 1
            priority: 3 if number else 5  # as for slow ones
            resources:
                mem_mb=16000,
                runtime=1440,
            message:
                f"run {', '.join(run.split('/')[2] for run in quick)} on {dataset}"
            shell:
                JOB + f" run {POLICY} {{threads}} {{params.jobs:q}}"


# All models on the cells of two data sets in one process: they share the cells, too.
rule mapping:
    input:
        f"{BUILD}/plans/mappings/{{reference}}/{{query}}.json",
        f"{BUILD}/cells/{{reference}}.json",
        f"{BUILD}/cells/{{query}}.json",
    output:
        f"{BUILD}/mappings/{{reference}}/{{query}}/mapping.csv",
    params:
        directory=lambda wildcards: f"{BUILD}/mappings/{wildcards.reference}/{wildcards.query}",
    threads: 1
    priority: 2
    resources:
        mem_mb=16000,
        runtime=1440,
    message:
        "mapping of {wildcards.query} on {wildcards.reference}"
    shell:
        JOB + f" mapping {POLICY} {{threads}} {{input[0]:q}} {{params.directory:q}}"


# All ablations of a model on a data set in one process, so that imports are paid for once.
rule ablation:
    input:
        f"{BUILD}/plans/ablations/{{dataset}}/{{model}}.json",
        f"{BUILD}/cells/{{dataset}}.json",
    output:
        expand(UNIT_TABLES, unit=f"{{dataset}}/{{model}}", allow_missing=True),
    params:
        directory=lambda wildcards: f"{BUILD}/ablations/{wildcards.dataset}/{wildcards.model}",
    threads: 1
    priority: 2
    resources:
        mem_mb=16000,
        runtime=1440,
    message:
        "ablations of {wildcards.model} on {wildcards.dataset}"
    shell:
        JOB + f" ablation {POLICY} {{threads}} {{input[0]:q}} {{params.directory:q}}"


rule ablations:
    input:
        f"{BUILD}/plans/ablations.json",
        expand(UNIT_TABLES, unit=UNITS),
    output:
        ABLATIONS,
    localrule: True
    message:
        "tables of the ablations"
    shell:
        JOB + f" ablations {POLICY} {{threads}} {{input[0]:q}} {BUILD}/ablations"


def cells_of_trial(wildcards):
    """The perceptron of a trial reads a data set, the ladders cells that are simulated for them."""
    return [f"{BUILD}/cells/{wildcards.part}.json"] if wildcards.table == "perceptron" else []


rule trial:
    input:
        f"{BUILD}/plans/trial/{{table}}/{{part}}.json",
        cells_of_trial,
    output:
        f"{BUILD}/trial/{{table}}/{{part}}.csv",
    threads: 1
    priority: 2
    resources:
        mem_mb=8000,
        runtime=240,
    message:
        "trial of the metrics, {wildcards.table} {wildcards.part}"
    shell:
        JOB + f" trial {POLICY} {{threads}} {{input[0]:q}} {{output:q}}"


rule umaps:
    input:
        f"{BUILD}/plans/umaps/{{dataset}}.json",
        runs_of_dataset,
    output:
        f"{BUILD}/umaps/{{dataset}}.json",
    threads: 1
    priority: 4  # every page of a run waits for them
    resources:
        mem_mb=16000,
        runtime=240,
    message:
        "UMAPs of {wildcards.dataset}"
    shell:
        JOB + f" umaps {POLICY} {{threads}} {{input[0]:q}} {{output:q}}"


rule tables:
    input:
        f"{BUILD}/plans/tables.json",
        expand(RUN_TABLES, run=RUNS),
        MAPPINGS,
    output:
        STUDY_TABLES,
    localrule: True
    priority: 2
    message:
        f"tables of the study, {PLAN['source']}"
    shell:
        JOB + f" tables {POLICY} {{threads}} {{input[0]:q}} {BUILD}"


rule page:
    input:
        f"{BUILD}/plans/pages/runs/{{dataset}}/{{model}}.json",
        f"{BUILD}/runs/{{dataset}}/{{model}}/scores.csv",
        f"{BUILD}/umaps/{{dataset}}.json",
    output:
        f"{BUILD}/executed/runs/{{dataset}}/{{model}}.ipynb",
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    message:
        "page {wildcards.model} on {wildcards.dataset}"
    shell:
        PAGE + " {input[0]:q} {output:q} {threads}"


rule chapter:
    input:
        f"{BUILD}/plans/pages/notebooks/{{chapter}}.json",
        read_by_chapter,
    output:
        f"{BUILD}/executed/notebooks/{{chapter}}.ipynb",
    threads: 1
    priority: 1
    resources:
        mem_mb=8000,
        runtime=60,
    message:
        "chapter {wildcards.chapter}"
    shell:
        PAGE + " {input[0]:q} {output:q} {threads}"


WAITS_FOR = ("reads", "ablations", "trial", "umaps")
EARLY = [name for name, chapter in CHAPTERS.items() if not any(map(chapter.get, WAITS_FOR))]
if EARLY:

    # They wait for no run, and some take long: started last, they would keep the other cores waiting.
    use rule chapter as early_chapter with:
        wildcard_constraints:
            chapter="|".join(map(re.escape, EARLY)),
        priority: 2

    ruleorder: early_chapter > chapter


rule book:
    input:
        rules.pages.input,
        "build/site-plan.json",
    output:
        "build/html/index.html",
    localrule: True
    threads: 8  # at most those that the run has: it is the last job
    message:
        "rendering the book"
    shell:
        PYTHON + f".processes zeroshot.site {STUDY} {{threads}}"

# The grid of a study: computed | run pages -> scores -> chapters -> book. Started by
# `zeroshot run STUDY` and `zeroshot book STUDY`, on cores here or on a cluster through a profile.
#
# Why a page re-runs is written in its plan file (notebook, parameters, cards, library modules,
# packages); `study.plan` rewrites only the plans that changed.
#
# With ZEROSHOT_SCORES=kept the scores are files of the repository: nothing is computed, there are no
# run pages, and the chapters lie in a folder of their own.
import shlex
import sys

from zeroshot import book, catalog, paths, results, study

STUDY = config.get("study", "default")
BUILD = str(paths.study(STUDY).relative_to(paths.home()))
# Instead of the shell, and ended with Snakemake, see zeroshot.processes.
RUN = f"exec {shlex.quote(sys.executable)} -m zeroshot.processes"

PAGES = study.plan(STUDY)
DATASETS = list(catalog.study(STUDY).datasets)
RUNS = [page.path for page in PAGES if page.notebook == "run"]
CHAPTERS = [page.path for page in PAGES if page.notebook != "run"]
SCORES = study.score_files(STUDY)
SITE_PLAN = book.plan(STUDY)


def executed(names):
    return expand(f"{BUILD}/executed/{{page}}.ipynb", page=names)


def scores_if_read(wildcards):
    chapter = next(page for page in PAGES if page.path == f"notebooks/{wildcards.chapter}")
    return SCORES if chapter.reads_scores else []


# First target: what the run pages will show, computed in one process per data set, so that imports
# and compilation are paid for once. No page depends on it (a page computes what it does not find),
# which keeps a change in one model from outdating the pages of the others.
rule computed:
    input:
        expand(f"{BUILD}/computed/{{dataset}}.json", dataset=DATASETS),


rule pages:
    input:
        executed(RUNS + CHAPTERS),
        SCORES,


rule compute:
    input:
        lambda wildcards: [
            f"{BUILD}/plans/{page}.json" for page in RUNS if page.split("/")[1] == wildcards.dataset
        ],
    output:
        f"{BUILD}/computed/{{dataset}}.json",
    threads: 1
    resources:
        mem_mb=16000,
        runtime=1440,
    message:
        "embeddings and scores of {wildcards.dataset}"
    shell:
        RUN + f" zeroshot.study {STUDY} {{wildcards.dataset:q}} {{output:q}} {{threads}}"


rule run:
    input:
        f"{BUILD}/plans/runs/{{dataset}}/{{model}}.json",
    output:
        f"{BUILD}/executed/runs/{{dataset}}/{{model}}.ipynb",
    threads: 1
    resources:
        mem_mb=8000,
        runtime=240,
    message:
        "page {wildcards.model} on {wildcards.dataset}"
    shell:
        RUN + " zeroshot.notebooks {input:q} {output:q} {threads}"


rule scores:
    input:
        executed(RUNS),
    output:
        expand(f"{BUILD}/{{table}}.csv", table=results.TABLES),
    localrule: True
    message:
        "scores of the study"
    shell:
        RUN + f" zeroshot.results {STUDY} {{output:q}} {{input:q}}"


rule chapter:
    input:
        f"{BUILD}/plans/notebooks/{{chapter}}.json",
        scores_if_read,
    output:
        f"{BUILD}/executed/notebooks/{{chapter}}.ipynb",
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
    message:
        "chapter {wildcards.chapter}"
    shell:
        RUN + " zeroshot.notebooks {input[0]:q} {output:q} {threads}"


rule book:
    input:
        executed(RUNS + CHAPTERS),
        SCORES,
        SITE_PLAN,
    output:
        "build/html/index.html",
    localrule: True
    message:
        "rendering the book"
    shell:
        RUN + f" zeroshot.book {STUDY}"

# The grid of a study: run pages -> scores -> chapters -> book. Started by `zeroshot run STUDY` and
# `zeroshot book STUDY`, on cores here or on a cluster through a profile.
#
# Why a page re-runs is written in its plan file (notebook, parameters, cards, library modules,
# packages); `study.plan` rewrites only the plans that changed.
import shlex
import sys

from zeroshot import book, study

STUDY = config.get("study", "default")
BUILD = f"build/studies/{STUDY}"
PYTHON = shlex.quote(sys.executable)

PAGES = study.plan(STUDY)
RUNS = [page.path for page in PAGES if page.notebook == "run"]
CHAPTERS = [page.path for page in PAGES if page.notebook != "run"]
SITE_PLAN = book.plan(STUDY)


def executed(names):
    return expand(f"{BUILD}/executed/{{page}}.ipynb", page=names)


def scores_if_read(wildcards):
    chapter = next(page for page in PAGES if page.path == f"notebooks/{wildcards.chapter}")
    return f"{BUILD}/scores.csv" if chapter.reads_scores else []


rule pages:
    input:
        executed(RUNS + CHAPTERS),
        f"{BUILD}/scores.csv",


rule run:
    input:
        f"{BUILD}/plans/runs/{{pair}}.json",
    output:
        f"{BUILD}/executed/runs/{{pair}}.ipynb",
    threads: 1
    resources:
        mem_mb=8000,
        runtime=240,
    shell:
        PYTHON + " -m zeroshot.notebooks {input:q} {output:q} {threads}"


rule scores:
    input:
        executed(RUNS),
    output:
        f"{BUILD}/scores.csv",
    localrule: True
    shell:
        PYTHON + f" -m zeroshot.results {STUDY} {{output:q}} {{input:q}}"


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
    params:
        plan=lambda wildcards, input: input[0],
    shell:
        PYTHON + " -m zeroshot.notebooks {params.plan:q} {output:q} {threads}"


rule book:
    input:
        executed(RUNS + CHAPTERS),
        f"{BUILD}/scores.csv",
        SITE_PLAN,
    output:
        "build/html/index.html",
    localrule: True
    shell:
        PYTHON + f" -m zeroshot.book {STUDY}"

"""A project of its own with a study that runs within a minute, for the tests that run one."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd

CHECKOUT = Path(__file__).parents[1]
STAGED = ["lib", "notebooks", "data", "book", "profiles", "Snakefile", "_config.yml", "_toc.yml",
          "CHANGELOG.md", "CONTRIBUTING.md", "README.md"]  # fmt: skip
TINY = """
tiny:
  title: Tiny
  description: One small simulated data set and three models.
  seeds: 1
  datasets: [tiny-atlas]
  models: [hvg, random, label-oracle]
  chapters: [02_cell_types, 03_batches]
"""
TINY_ATLAS = """
tiny-atlas:
  title: Tiny atlas
  description: A few simulated cells.
  organism: human
  tissue: blood
  source: simulate
  licence: CC0 1.0
  label_key: cell_type
  batch_key: batch
  prepare: simulate_atlas
  parameters: {n_cells: 160, n_genes: 250, n_batches: 2, batch_strength: 0.5, seed: 0}
"""
RUNS = {"runs/tiny-atlas/hvg", "runs/tiny-atlas/random", "runs/tiny-atlas/label-oracle"}
CHAPTERS = {"notebooks/02_cell_types", "notebooks/03_batches"}


def copy_project(root: Path) -> Path:
    """A project of its own, library included, with a study that runs within a minute."""
    root.mkdir()
    for name in STAGED:
        source = CHECKOUT / name
        ignore = shutil.ignore_patterns("downloads", "*.egg-info")
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=ignore)
        else:
            shutil.copy2(source, root / name)
    for registry, entry in {"studies": TINY, "datasets": TINY_ATLAS}.items():
        file = root / "data" / f"{registry}.yml"
        file.write_text(file.read_text() + entry)
    return root


def environment(root: Path) -> dict[str, str]:
    """That of a project."""
    return os.environ | {"PYTHONPATH": str(root / "lib"), "ZEROSHOT_HOME": str(root)}


def start(root: Path, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "zeroshot", *arguments]
    return subprocess.Popen(
        command, env=environment(root), cwd=root, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def zeroshot(root: Path, *arguments: str, code: int = 0) -> str:
    process = start(root, *arguments)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == code, output
    return output


def run_tiny(root: Path) -> Path:
    zeroshot(root, "run", "tiny", "--cores", "2")
    return root


def times(root: Path) -> dict[str, int]:
    """When each page was executed."""
    folder = root / "build" / "studies" / "tiny" / "executed"
    return {
        str(page.relative_to(folder).with_suffix("")): page.stat().st_mtime_ns
        for page in folder.rglob("*.ipynb")
    }


def executed_between(before: dict[str, int], after: dict[str, int]) -> set[str]:
    return {page for page in after if before.get(page) != after[page]}


def scores(root: Path) -> pd.DataFrame:
    return pd.read_csv(root / "build" / "studies" / "tiny" / "scores.csv")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def would_do(root: Path) -> set[str]:
    """Jobs that the next run would do, from Snakemake's own plan: runs, and pages as "page of …"."""
    output = zeroshot(root, "run", "tiny", "--dry-run")
    jobs = re.findall(r"^Job \d+: (run|page) (.+) on (\S+)$", output, flags=re.MULTILINE)
    chapters = re.findall(r"^Job \d+: chapter (\S+)$", output, flags=re.MULTILINE)
    return {
        f"{'page of ' if job == 'page' else ''}runs/{dataset}/{model}"
        for job, models, dataset in jobs
        for model in models.split(", ")
    } | {f"notebooks/{name}" for name in chapters}

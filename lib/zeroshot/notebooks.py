"""Execute parameterised notebooks with papermill, without its silent failures.

papermill ignores a parameter that the notebook does not declare and a notebook without a
parameters cell; both are refused here. The executed notebook appears under its name only when
every cell has run.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from zeroshot import dependencies, paths


class NotebookError(RuntimeError):
    """A notebook cannot be executed as asked, or one of its cells failed."""


def declared_parameters(notebook: Path) -> set[str]:
    """Names assigned in the cell tagged ``parameters``.

    Raises
    ------
    NotebookError
        If there is no such cell, or more than one.
    """
    import ast

    cells = json.loads(notebook.read_text())["cells"]
    tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    if len(tagged) != 1:
        raise NotebookError(
            f"{notebook.name} has {len(tagged)} cells tagged `parameters`; it needs exactly one, "
            "so that papermill knows where the given values go"
        )
    body = ast.parse("".join(tagged[0]["source"])).body
    targets = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
    targets += [node.target for node in body if isinstance(node, ast.AnnAssign)]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def execute(notebook: Path, output: Path, parameters: dict[str, Any], *, threads: int | None = None) -> None:
    """Run a notebook from top to bottom and write the executed copy.

    Parameters
    ----------
    notebook
        Source, stored without outputs.
    output
        Where the executed notebook goes; written only when every cell has run. On failure the cells
        up to the error are kept beside it as ``<name>.failed.ipynb``.
    parameters
        Values for names of the parameters cell; plain JSON.
    threads
        Most threads for numerical libraries; None leaves it to them.

    Raises
    ------
    NotebookError
        For an unknown parameter, a missing parameters cell or a failing cell.
    """
    unknown = set(parameters) - declared_parameters(notebook)
    if unknown:
        raise NotebookError(
            f"{notebook.name} does not declare {', '.join(sorted(unknown))}; "
            f"its parameters are {', '.join(sorted(declared_parameters(notebook)))}"
        )
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    prepare_environment(threads)
    output.parent.mkdir(parents=True, exist_ok=True)
    failed = output.with_suffix(".failed.ipynb")
    with (
        tempfile.TemporaryDirectory(prefix=f".{output.stem}-", dir=output.parent) as folder,
        tempfile.TemporaryDirectory(prefix="kernel-") as sockets,  # a socket's path must be short
    ):
        executed = Path(folder) / output.name
        try:
            papermill.execute_notebook(
                notebook,
                executed,
                parameters,
                kernel_name="python3",
                progress_bar=False,
                start_timeout=300,  # seconds; imports are slow on a busy or a shared file system
                # Unix sockets in a private folder: over TCP others on the machine could listen.
                config=Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/kernel"}}),
            )
        except (PapermillExecutionError, DeadKernelError) as error:
            executed.replace(failed)
            if isinstance(error, DeadKernelError):
                reason = "its kernel died, most often for want of memory: take fewer cells (`subset`)"
            else:
                reason = f"cell {error.exec_count} raised {error.ename}: {error.evalue}"
            raise NotebookError(
                f"{notebook.name} with {json.dumps(parameters)} failed: {reason}\n"
                f"The cells up to there are in {failed}"
            ) from error
        _clean(executed)
        executed.replace(output)
    failed.unlink(missing_ok=True)


def prepare_environment(threads: int | None) -> None:
    """Share compiled code between processes and bound their threads; child processes inherit it."""
    cache = paths.build() / "cache"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache / "jax"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("NUMBA_CACHE_DIR", str(cache / "numba"))
    if threads is not None:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
            os.environ[name] = str(threads)


def _clean(executed: Path) -> None:
    """Drop papermill's bookkeeping, which holds paths of this machine."""
    content = json.loads(executed.read_text())
    content["metadata"].pop("papermill", None)
    for cell in content["cells"]:
        cell["metadata"].pop("papermill", None)
    executed.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def main(arguments: list[str]) -> int:
    """``python -m zeroshot.notebooks PLAN OUTPUT THREADS``: execute one planned page of a study."""
    plan_file, output, threads = arguments
    plan = json.loads(Path(plan_file).read_text())
    notebook = paths.notebooks() / f"{plan['notebook']}.ipynb"
    compares_variants = "zeroshot.variants" in dependencies.modules_of_notebook(notebook)
    if os.environ.get("ZEROSHOT_POLICY") == "recompute" and not compares_variants:
        os.environ["ZEROSHOT_POLICY"] = "reuse"  # `study.compute` has just recomputed what the page shows
    try:
        execute(notebook, Path(output), plan["parameters"], threads=int(threads))
    except NotebookError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

"""Execute a notebook from top to bottom; the result appears whole or not at all."""

import json
import logging
import os
from pathlib import Path
from typing import Any

from zeroshot.runtime import outputs, paths

from . import kernel
from .cleaning import clean
from .error import NotebookError
from .output import is_failed_copy, keep_failed, require_new, temporary_folder
from .parameters import check_parameters
from .warm import WaitingKernel

# Warnings that would name the builder's folders in a page: of tqdm, where a progress bar could be shown; of
# jax, for each piece of compiled code that a full disk has cut or does not take.
UNWANTED = (
    "IProgress not found",
    "Error reading persistent compilation cache entry",
    "Error writing persistent compilation cache entry",
)


def execute(
    notebook: Path,
    output: Path,
    parameters: dict[str, Any],
    *,
    threads: int | None = None,
    waiting: WaitingKernel | None = None,
) -> None:
    """Run a notebook from top to bottom and write the executed copy.

    Parameters
    ----------
    notebook
        Source, stored without outputs.
    output
        Where the executed notebook goes; written only when every cell has run. On failure the cells
        up to the error are kept beside it as ``<name>.failed.ipynb``.
    parameters
        Values for names of the parameters cell; plain JSON, of the types that the cell declares.
    threads
        Most threads for numerical libraries; None leaves it to them.
    waiting
        A kernel to use; None starts one.

    Raises
    ------
    NotebookError
        For an unknown parameter, a value of another type, a missing parameters cell, an output that is an
        input or cannot be written, or a failing cell.
    zeroshot.runtime.outputs.OutputError
        If the disk is full.
    """
    parameters = check_parameters(notebook, parameters)
    require_new(notebook, output, parameters.values())
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    logging.getLogger("papermill").setLevel(logging.ERROR)  # it warns of parameters with a type
    prepare_environment(threads)
    advice = "Free some space and run the same command again."
    with (
        outputs.named_if_full(output, advice),
        temporary_folder(output) as folder,
        kernel.sockets() as sockets,
    ):
        executed = Path(folder).resolve() / "executed.ipynb"
        try:
            papermill.execute_notebook(
                _without_fields(notebook),
                _without_fields(executed),
                parameters,
                engine_name=_engine(),
                kernel_name="python3",
                kernel_manager_class=kernel.manager(waiting),
                progress_bar=False,
                start_timeout=300,  # seconds; imports are slow on a busy or a shared file system
                config=Config(kernel.connection(sockets)),
            )
        except (PapermillExecutionError, RuntimeError) as error:
            if isinstance(error, PapermillExecutionError):
                reason = f"cell {error.exec_count} raised {error.ename}: {error.evalue}"
            elif isinstance(error, DeadKernelError):
                reason = "its kernel died, most often for want of memory: take fewer cells (`subset`)"
            else:
                reason = f"its kernel did not start: {error}"
            raise NotebookError(
                f"{notebook.name} with {json.dumps(parameters)} failed: {reason}\n"
                f"{keep_failed(executed, output)}"
            ) from error
        clean(executed, parameters.values())
        executed.replace(output)
    stale = output.with_suffix(".failed.ipynb")
    if is_failed_copy(stale):
        stale.unlink()


def prepare_environment(threads: int | None) -> None:
    """Share compiled code between processes and bound their threads; child processes inherit it."""
    cache = paths.build() / "cache"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache / "jax"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("NUMBA_CACHE_DIR", str(cache / "numba"))
    ours = [f"ignore:{text}" for text in UNWANTED]
    filters = os.environ.get("PYTHONWARNINGS", "").split(",")
    os.environ["PYTHONWARNINGS"] = ",".join([*(one for one in filters if one and one not in ours), *ours])
    if threads is not None:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
            os.environ[name] = str(threads)


def _engine() -> str:
    """Name of papermill's engine that writes the notebook once all cells have run, or one has failed.

    papermill's own writes all outputs before and after each cell.
    """
    from papermill.engines import NBClientEngine, papermill_engines

    class WritingOnce(NBClientEngine):
        """Hides where to write until then; papermill writes at the end, also if the kernel has died."""

        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **options: Any) -> None:
            output, nb_man.output_path = nb_man.output_path, None
            try:
                super().execute_managed_notebook(nb_man, kernel_name, **options)
            finally:
                nb_man.output_path = output

    name = "zeroshot-writing-once"
    papermill_engines.register(name, WritingOnce)
    return name


def _without_fields(path: Path) -> str:
    """The path as papermill reads it: braces in it would be filled with parameters."""
    return str(path).replace("{", "{{").replace("}", "}}")

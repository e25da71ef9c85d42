"""Execute parameterised notebooks with papermill, without its silent failures.

papermill ignores a parameter that the notebook does not declare and a notebook without a
parameters cell, starts whatever kernel is installed as ``python3``, and writes over its input; all
of these are refused or prevented here. The executed notebook appears under its name only when every
cell has run.
"""

import warnings

from .error import NotebookError
from .execution import UNWANTED, execute, prepare_environment
from .parameters import Parameter, declared_parameters, parse_parameters

__all__ = [
    "NotebookError",
    "Parameter",
    "declared_parameters",
    "execute",
    "parse_parameters",
    "prepare_environment",
]

# Kernels that `execute` starts are told by their environment, before they import anything; copies of a
# process, and kernels of papermill and JupyterLab, here.
for _message in UNWANTED:
    warnings.filterwarnings("ignore", message=_message)

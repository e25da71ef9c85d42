"""The same arithmetic on every machine: chosen before numpy is loaded, and only where it can run."""

import json
import subprocess
import sys

from zeroshot.runtime import reproducible

REPORT = """
import json, os, sys
from zeroshot import cli; from zeroshot.runtime import reproducible
assert "numpy" not in sys.modules
reproducible.fix_arithmetic()
import numpy
from threadpoolctl import threadpool_info
kernels = [pool["architecture"] for pool in threadpool_info() if pool["internal_api"] == "openblas"]
print(json.dumps([kernels, *map(os.environ.get, ("OPENBLAS_CORETYPE", "NUMBA_NUM_THREADS"))]))
"""


def report(monkeypatch, **environment):
    for name in ("OPENBLAS_CORETYPE", "NUMBA_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    done = subprocess.run([sys.executable, "-c", REPORT], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_one_kernel_for_all_processors_that_can_run_it(monkeypatch):
    kernels, kernel, threads = report(monkeypatch)
    assert threads == "1" and kernel in (None, "Haswell")
    if kernel:
        assert set(kernels) <= {kernel}


def test_what_the_user_has_set_stays(monkeypatch):
    kernels, _, threads = report(monkeypatch, OPENBLAS_CORETYPE="Prescott", NUMBA_NUM_THREADS="2")
    assert "Haswell" not in kernels and threads == "2"


def test_processors_without_the_instructions_keep_their_kernel(monkeypatch, tmp_path):
    facts = tmp_path / "cpuinfo"
    monkeypatch.setattr(reproducible, "Path", lambda _: facts)
    monkeypatch.delitem(sys.modules, "numpy", raising=False)
    for machine, flags, kernel in (
        ("x86_64", None, None),
        ("x86_64", "flags : sse2 avx", None),
        ("x86_64", "flags : sse2 avx avx2 fma", "Haswell"),
        ("arm64", "flags : sse2 avx avx2 fma", None),
    ):
        monkeypatch.setattr("platform.machine", lambda machine=machine: machine)
        monkeypatch.setattr("os.environ", environment := {})
        if flags:
            facts.write_text(flags)
        reproducible.fix_arithmetic()
        assert environment.get("OPENBLAS_CORETYPE") == kernel, (machine, flags)

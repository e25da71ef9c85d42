"""Compiled code is kept from process to process, and of each version of what was compiled apart."""

import importlib.util

import pytest

from zeroshot.runtime import compilation

# With another number the file has another size, by which numba knows that it has changed.
SOURCE = "import numba\n\n@numba.njit\ndef raised(x):\n    return x + {number}\n"


@pytest.fixture
def raised(tmp_path, monkeypatch):
    """Import a function that numba compiles anew, as another process would, and call it with 2."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    file = tmp_path / "compiled.py"

    def load(number):
        file.write_text(SOURCE.format(number=number))
        specification = importlib.util.spec_from_file_location("compiled", file)
        module = importlib.util.module_from_spec(specification)
        with compilation.keep_code():
            specification.loader.exec_module(module)
        return module.raised(2), sum(module.raised.stats.cache_hits.values())

    return load


def test_compiled_functions_are_kept(raised):
    assert [raised(1), raised(1), raised(100)] == [(3, 0), (3, 1), (102, 0)]


def test_other_packages_are_compiled_as_before(raised, tmp_path):
    import numba

    plain = numba.njit
    raised(1)
    assert numba.njit is plain and str(tmp_path / "cache") == numba.config.CACHE_DIR


def test_another_version_has_its_own_code(raised, monkeypatch):
    raised(1)
    monkeypatch.setattr(compilation.importlib.metadata, "version", lambda name: "9.9")
    assert raised(1) == (3, 0)

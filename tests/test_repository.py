"""Buttons that lead to the repository: from which remotes, on which pages, and never with a password."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from bs4 import BeautifulSoup

from zeroshot.site import repository

CHECKOUT = Path(__file__).resolve().parents[1]
URL = "https://github.com/someone/zero-shot.book"


def git(home, *arguments):
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    done = subprocess.run(
        ["git", *identity, "-C", str(home), *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def clone(home):
    """The project as a git checkout with one commit, on branch main; calls with an address set its remote."""
    git(home, "init", "--quiet", "--initial-branch=main")
    git(home, "add", "_config.yml")
    git(home, "commit", "--quiet", "-m", "one")

    def with_remote(address, *, pushed=True):
        git(home, "remote", "add", "origin", address)
        if pushed:
            git(home, "update-ref", "refs/remotes/origin/main", "HEAD")
        return git(home, "rev-parse", "HEAD")

    return with_remote


@pytest.mark.parametrize(
    "address",
    [
        f"{URL}.git",
        f"{URL}/",
        "https://someone:pa55word@github.com/someone/zero-shot.book.git",
        "https://x-access-token:pa55word@github.com/someone/zero-shot.book",
        "git@github.com:someone/zero-shot.book.git",
        "ssh://git@github.com/someone/zero-shot.book.git",
        "ssh://git:pa55word@github.com:22/someone/zero-shot.book",
    ],
)
def test_addresses_of_a_host_are_links_without_credentials(clone, address):
    commit = clone(address)
    found = repository.find()
    assert (found.url, found.ref, found.branch, found.folder) == (URL, commit, "main", "")
    assert (
        "pa55word" not in repository.description()
        and commit in repository.description()
        and "Colab" in repository.description()
    )


@pytest.mark.parametrize(
    "address",
    [
        "/srv/git/book.git",
        "file:///srv/git/book",
        "https://pa55word@git.example.org/someone/book",
        "https://github.com.example.org/someone/book",
        "https://example.org/github.com/someone/book",
        "https://gitlab.com/group/nested/book",
    ],
)
def test_other_remotes_make_no_links(clone, address):
    clone(address)
    with pytest.raises(repository.NoRepositoryError, match="no repository on github"):
        repository.find()
    told = repository.description()
    assert told.startswith("Pages have no buttons") and "pa55word" not in told and "/srv" not in told


def test_what_a_host_does_not_have_is_not_linked_to(clone, home):
    clone(URL, pushed=False)
    with pytest.raises(repository.NoRepositoryError, match="push it first"):
        repository.find()
    git(home, "update-ref", "refs/remotes/origin/main", "HEAD")
    git(home, "commit", "--quiet", "--allow-empty", "-m", "not pushed")
    assert repository.find().ref == "main"


def test_a_commit_without_a_branch_is_no_branch(clone, home):
    commit = clone(URL)
    git(home, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")  # as a clone has it
    git(home, "checkout", "--quiet", "--detach")
    assert (repository.find().ref, repository.find().branch) == (commit, None)
    git(home, "commit", "--quiet", "--allow-empty", "-m", "not pushed")
    with pytest.raises(repository.NoRepositoryError, match="push it first"):
        repository.find()


def test_without_git_there_are_no_links(home):
    with pytest.raises(repository.NoRepositoryError, match="no git checkout"):
        repository.find()


def test_gitlab_has_no_colab(clone):
    clone("git@gitlab.com:someone/book.git")
    config = {"launch_buttons": {}, "html": {}, "sphinx": {"config": {"html_context": {}}}}
    repository.configure(config, repository.find())
    assert config["launch_buttons"] == {"binderhub_url": "https://mybinder.org"}


# -- a small book with the configuration of this one


@pytest.fixture
def built(clone, home):
    """A book of a chapter, a run page and a generated page, built as the real one is; the commit it is of."""
    commit = clone("https://someone:pa55word@github.com/someone/zero-shot.book.git")
    config = yaml.safe_load((CHECKOUT / "_config.yml").read_text())
    repository.configure(config, repository.find())
    del config["html"]["favicon"], config["logo"]
    options = config["sphinx"]["config"]
    options |= {"html_static_path": [], "html_css_files": [], "html_extra_path": [], "templates_path": []}
    del options["html_theme_options"]["article_footer_items"], options["html_theme_options"]["logo"]
    site = home / "build" / "site"
    for page, text in {
        "_config.yml": yaml.safe_dump(config),
        "_toc.yml": yaml.safe_dump(
            {
                "format": "jb-book",
                "root": "book/intro",
                "chapters": [
                    {"file": "notebooks/01_data"},
                    {"file": "book/methods"},
                    {"file": "book/runs", "sections": [{"glob": "runs/*/*"}]},
                    {"file": "book/status"},
                ],
            }
        ),
        "book/intro.md": "# Home\n",
        "book/methods.md": "# Methods\n\n$x$\n",
        "book/runs.md": "# All runs\n",
        "book/status.md": "# Status\n",
    }.items():
        (site / page).parent.mkdir(parents=True, exist_ok=True)
        (site / page).write_text(text)
    shutil.copy(home / "book" / "references.bib", site / "book")
    for page in ("notebooks/01_data", "runs/atlas/pca", "runs/atlas/hvg"):
        (site / page).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(home / "notebooks" / "01_data.ipynb", site / f"{page}.ipynb")
    start = "from jupyter_book.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", start, "build", "--quiet", str(site)], capture_output=True, text=True
    )
    book = site / "_build" / "html"
    assert (book / "index.html").is_file(), done.stderr
    return book, commit


def page(book, name):
    return BeautifulSoup((book / name).read_text(), "html.parser")


def test_buttons_are_on_pages_that_have_a_source(built):
    book, commit = built
    found = {
        name: [a["href"] for a in page(book, f"{name}.html").select(".article-header-buttons a[href^=http]")]
        for name in ("notebooks/01_data", "book/intro", "runs/atlas/pca", "book/status")
    }
    assert found == {
        "notebooks/01_data": [
            f"https://mybinder.org/v2/gh/someone/zero-shot.book/{commit}"
            "?urlpath=lab/tree/notebooks/01_data.ipynb",
            "https://colab.research.google.com/github/someone/zero-shot.book/blob/"
            f"{commit}/notebooks/01_data.ipynb",
            URL,
            f"{URL}/edit/main/notebooks/01_data.ipynb",
        ],
        "book/intro": [URL, f"{URL}/edit/main/book/intro.md"],
        "runs/atlas/pca": [URL],
        "book/status": [URL],
    }
    assert not [file for file in book.rglob("*.html") if "pa55word" in file.read_text()]

    # Run pages are in the order of the book but not in its sidebar.
    for name in found:
        listed = [a["href"] for a in page(book, f"{name}.html").select(".bd-docs-nav a")]
        assert listed and not [address for address in listed if "atlas" in address]
    order = page(book, "runs/atlas/pca.html").select(".prev-next-area a")
    assert [a["href"] for a in order] == ["hvg.html", "../../book/status.html"]
    assert "runs/atlas/pca" in (book / "searchindex.js").read_text()

    # The home page does not load what only pages below it need.
    assert "tex-svg-full" in (book / "book/methods.html").read_text()
    assert "tex-svg-full" not in (book / "book/intro.html").read_text()

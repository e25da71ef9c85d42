"""Where the sources of this book can be read, edited and opened: its git repository, if it has an address.

Only links are made of it: nothing is asked of a host, neither when the book is built nor when it is read.
"""

import re
import subprocess
from dataclasses import dataclass
from typing import Any

from zeroshot.runtime import escaping, paths

BINDER, COLAB = "https://mybinder.org", "https://colab.research.google.com"
# https, ssh and scp-like addresses; what stands before @ may be a password and is dropped.
_ADDRESS = re.compile(
    r"(?:(?:https?|ssh|git)://)?(?:[^@/]*@)?(?P<host>github\.com|gitlab\.com)(?::\d+(?=/))?"
    r"[/:](?P<owner>[\w.-]+)/(?P<name>[\w.-]+?)(?:\.git)?/?"
)


class NoRepositoryError(LookupError):
    """Readers cannot be led to the sources; the message says why, and names no address."""


@dataclass(frozen=True)
class Repository:
    """The sources of this book on a host.

    Attributes
    ----------
    url
        https address, without credentials.
    ref
        The commit where the host has it, else the branch.
    branch
        For edits; None where no branch is checked out.
    folder
        Of the project within the repository, empty for its root.
    """

    url: str
    ref: str
    branch: str | None
    folder: str

    @property
    def on_github(self) -> bool:
        """Colab opens notebooks from there only."""
        return self.url.startswith("https://github.com/")


def find() -> Repository:
    """The repository of this project, from its git remote ``origin``.

    Raises
    ------
    NoRepositoryError
        If there is none, its host is not known, or it has neither this commit nor this branch.
    """
    try:
        address = _git("remote", "get-url", "origin")
        commit, folder = _git("rev-parse", "HEAD"), _git("rev-parse", "--show-prefix").strip("/")
        branches = _git("for-each-ref", "--format=%(refname:lstrip=3)", "refs/remotes/origin")
        published = _git("for-each-ref", "--contains", "HEAD", "refs/remotes/origin")
        branch = _git("branch", "--show-current")  # empty where no branch is checked out
    except (OSError, subprocess.CalledProcessError):
        raise NoRepositoryError("this is no git checkout with a commit and a remote named origin") from None
    host = _ADDRESS.fullmatch(address)
    if host is None:
        raise NoRepositoryError("the git remote origin is no repository on github.com or gitlab.com")
    pushed_branch = branch if branch and branch in branches.splitlines() else None
    ref = commit if published else pushed_branch
    if ref is None:
        raise NoRepositoryError(
            "the git remote origin has neither this commit nor this branch: push it first"
        )
    return Repository(f"https://{host['host']}/{host['owner']}/{host['name']}", ref, pushed_branch, folder)


def configure(config: dict[str, Any], repository: Repository) -> None:
    """Put the buttons that lead to a repository into a Jupyter Book configuration (``_config.yml``)."""
    config["repository"] = {
        "url": repository.url,
        "branch": repository.ref,
        "path_to_book": repository.folder,
    }
    config["launch_buttons"] |= {"binderhub_url": BINDER}
    if repository.on_github:
        config["launch_buttons"] |= {"colab_url": COLAB}
    config["html"] |= {"use_repository_button": True, "use_edit_page_button": repository.branch is not None}
    if repository.branch:  # a commit cannot be edited: zeroshot.site.sphinx_extension reads this
        config["sphinx"]["config"]["html_context"]["edit_branch"] = repository.branch


def description() -> str:
    """For the status page, as Markdown: where the buttons lead, or why there are none."""
    try:
        repository = find()
    except NoRepositoryError as error:
        return f"Pages have no buttons that open their source, Binder or Colab: {error}."
    services = "Binder and Colab" if repository.on_github else "Binder"
    place = escaping.code(repository.ref)
    return f"Buttons lead to {repository.url} and open chapters in {services} at {place}."


def _git(*arguments: str) -> str:
    process = subprocess.run(
        ["git", "-C", str(paths.home()), *arguments], capture_output=True, text=True, check=True
    )
    return process.stdout.strip()

"""What is raised when a notebook cannot be executed."""


class NotebookError(ValueError):
    """A notebook cannot be executed as asked, or one of its cells failed."""

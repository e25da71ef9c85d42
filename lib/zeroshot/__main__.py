"""``python -m zeroshot``: the same as the ``zeroshot`` command."""

from zeroshot.cli import main

main()

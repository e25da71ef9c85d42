"""``python -m zeroshot`` and the ``zeroshot`` command."""

import signal


def main() -> None:
    """Run the command line; while it is imported, Ctrl-C ends the process without a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from zeroshot.cli import main as run

    run()


if __name__ == "__main__":
    main()

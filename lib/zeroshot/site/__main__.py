"""Stage and render the book of a study: ``python -m zeroshot.site STUDY CORES``, for the Snakefile."""

import sys

from zeroshot.site import BookError, build

try:
    build(sys.argv[1], int(sys.argv[2]))
except BookError as error:
    raise SystemExit(str(error)) from None

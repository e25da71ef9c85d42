"""Stage and render the book of a study: ``python -m zeroshot.site STUDY``, as the Snakefile calls it."""

import sys

from zeroshot.site import BookError, build

try:
    build(sys.argv[1])
except BookError as error:
    raise SystemExit(str(error)) from None

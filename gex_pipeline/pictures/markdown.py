"""How a picture gets into metadata. It is decoration: when it cannot be drawn, nothing fails."""

import logging
from collections.abc import Callable
from urllib.parse import quote

logger = logging.getLogger(__name__)

# What may stand in a data URI and in a link in Markdown as it is.
_PLAIN = "/:;,='+-."


def drawn(draw: Callable[[], str], alt: str) -> str:
    """Return an SVG document as an image in Markdown that needs no other file.

    Args:
        draw: returns the document; empty when there is nothing to show.
        alt: what it shows, in plain words.

    Returns:
        Empty when there is nothing to show, or when it could not be drawn, which is logged.
    """
    try:
        svg = draw()
    except Exception:
        logger.exception("there is no picture of %s", alt)
        return ""
    return f"![{alt}](data:image/svg+xml,{quote(svg, safe=_PLAIN)})" if svg else ""

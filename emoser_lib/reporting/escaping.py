"""The one way in which a text that others wrote gets onto a page."""

import re

from emoser_lib.visible import visible

MARKUP = re.compile(r"[^\w .,:;()/%+=-]|_", re.ASCII)
"""What HTML, Markdown, MyST or a formula may begin with, line breaks among them."""


def as_text(value: object) -> str:
    r"""Write a value as HTML that shows it and does nothing else: no tag, no directive, no role, no formula.

    Browsers turn the numbers back into characters; Markdown and MyST, which come before, find nothing to act on.
    Accented letters and other scripts stay as they are.

    >>> as_text("<b>\n```{include} ../secret")
    '&#60;b&#62;&#10;&#96;&#96;&#96;&#123;include&#125; ../secret'
    """
    return MARKUP.sub(lambda found: found[0] if ord(found[0]) > 127 else f"&#{ord(found[0])};", visible(str(value)))

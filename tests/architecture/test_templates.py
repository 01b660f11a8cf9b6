"""A content security policy without exceptions needs pages without inline code."""

import re

import pytest
from django.conf import settings

TEMPLATES = sorted((settings.BASE_DIR / "templates").rglob("*.html"))
INLINE_SCRIPT = re.compile(r"<script(?![^>]*\bsrc=)", re.IGNORECASE)
HANDLER_OR_STYLE = re.compile(r"<[^>]*\s(on[a-z]+|style)\s*=", re.IGNORECASE)
ELSEWHERE = re.compile(r"""(src|href)\s*=\s*["'](https?:)?//""", re.IGNORECASE)


@pytest.mark.parametrize("pattern", [INLINE_SCRIPT, HANDLER_OR_STYLE, ELSEWHERE], ids=["script", "attribute", "cdn"])
def test_no_template_has_inline_code_or_loads_from_elsewhere(pattern: re.Pattern[str]) -> None:
    assert TEMPLATES
    guilty = [str(path.relative_to(settings.BASE_DIR)) for path in TEMPLATES if pattern.search(path.read_text())]
    assert guilty == []

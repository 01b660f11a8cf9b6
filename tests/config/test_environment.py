"""`.env.example` and the settings name the same variables with the same defaults."""

import ast
import re
from typing import Any

import pytest
from django.conf import settings

SOURCE = ast.parse((settings.BASE_DIR / "config" / "settings.py").read_text())


def read_by_settings() -> dict[str, Any]:
    """Variable -> default, from the calls `env.<type>("NAME", default, ...)`."""
    calls = re.findall(r'env\.\w+\(("[A-Z_]+"), ', (settings.BASE_DIR / "config" / "settings.py").read_text())
    found = {}
    for node in ast.walk(SOURCE):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="env")), args=[ast.Constant(value=str(name)), default]):
                found[name] = eval(compile(ast.Expression(default), "default", "eval"))
    assert len(found) == len(calls)
    return found


def documented() -> dict[str, str]:
    text = (settings.BASE_DIR / ".env.example").read_text()
    return dict(re.findall(r"^# ([A-Z_]+)=(.*)$", text, re.MULTILINE))


def as_text(default: Any) -> str:
    if isinstance(default, bool):
        return str(int(default))
    return ",".join(default) if isinstance(default, list) else str(default)


def test_every_variable_is_documented_with_its_default() -> None:
    assert documented() == {name: as_text(default) for name, default in read_by_settings().items()}


@pytest.mark.parametrize("name", sorted(documented()))
def test_every_documented_variable_has_its_meaning_above_it(name: str) -> None:
    before = (settings.BASE_DIR / ".env.example").read_text().partition(f"# {name}=")[0].rstrip("\n")
    assert before.rpartition("\n")[2].startswith("# ")

"""`.env.example` and the settings name the same variables with the same defaults."""

import ast
import os
import re
import subprocess
import sys
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


def test_what_the_database_address_asks_for_is_kept() -> None:
    code = "from django.conf import settings; print(settings.DATABASES['default']['OPTIONS'])"
    environment = os.environ | {"DATABASE_URL": "postgresql://u:p@db.example.com/plant?sslmode=verify-full"}
    command = [sys.executable, "manage.py", "shell", "--no-imports", "-c", code]
    out = subprocess.run(
        command, env=environment, cwd=settings.BASE_DIR, capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert "'sslmode': 'verify-full'" in out
    assert "statement_timeout" in out


@pytest.mark.parametrize(("name", "value"), [("PORT", "eighty"), ("QUALITY_THRESHOLD", "2"), ("DEMO", "perhaps")])
def test_a_value_that_cannot_be_read_stops_the_start_with_the_name_of_its_variable(name: str, value: str) -> None:
    command = [sys.executable, "manage.py", "check"]
    done = subprocess.run(
        command, env=os.environ | {name: value}, cwd=settings.BASE_DIR, capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert name in done.stderr

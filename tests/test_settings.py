"""Every variable that the code reads is known, and a mistyped one is refused."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rarl.errors import SettingError
from rarl.limits import Limits
from rarl.settings import Settings, as_markdown, check_settings, known_settings, read_settings

ROOT = Path(__file__).resolve().parents[1]


def test_all_variables_of_the_code_are_known() -> None:
    files = [ROOT / "app.py", *(ROOT / "scripts").iterdir()]
    for folder in ("rarl", "demo"):
        files += (ROOT / folder).rglob("*.py")
    read = {
        name
        for path in files
        if path.is_file()
        for name in re.findall(r"\bRARL_[A-Z]+(?:_[A-Z]+)*\b", path.read_text("utf-8", "replace"))
    }
    assert read - {"RARL_LIMIT"} <= set(known_settings())
    check_settings(dict.fromkeys(known_settings(), ""))


def test_settings_are_read_by_one_function() -> None:
    elsewhere = [
        f"{path.relative_to(ROOT)}: {node.value}"
        for folder in ("rarl", "demo")
        for path in (ROOT / folder).rglob("*.py")
        # The review store still reads its own.
        if path != ROOT / "rarl/settings.py" and not path.is_relative_to(ROOT / "rarl/review")
        for call in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(call, (ast.Call, ast.Subscript))
        for node in ast.walk(call)
        if isinstance(node, ast.Constant)
        and str(node.value) in {*known_settings()}
        and "environ" in ast.unparse(call.func if isinstance(call, ast.Call) else call.value)
    ]
    assert not elsewhere, f"read it by rarl.settings.read_settings: {elsewhere}"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("RARL_HOEM", "RARL_HOME"),
        ("RARL_DATABSE_URL", "RARL_DATABASE_URL"),
        ("RARLDATA", "RARL_DATA"),
        ("RARL_SIGNIN", "RARL_SIGN_IN"),
        ("RARL_LIMIT_FRAME", "RARL_LIMIT_FRAMES"),
        ("RARL_LIMT_FRAMES", "RARL_LIMIT_FRAMES"),
        ("RARL_MODELS", "RARL_MODEL"),
        ("rarl_model", "RARL_MODEL"),
        ("RARL_LIMIT_EVERYTHING", "RARL_LIMIT_FILE_BYTES"),
    ],
)
def test_a_mistyped_variable_is_refused(name: str, meant: str) -> None:
    with pytest.raises(SettingError) as caught:
        check_settings({name: "x", "PATH": "/bin"})
    assert name in str(caught.value) and meant in str(caught.value)


def test_values_are_typed() -> None:
    assert read_settings({}) == Settings()
    settings = read_settings(
        {
            "RARL_AUDIT_SHARE": " 0.25 ",
            "RARL_HOME": "~/store",
            "RARL_LIMIT_OPEN_SECONDS": "2.5",
            "RARL_TRUSTED_PROXIES": "10.0.0.0/8, ::1",
            "RARL_EMBED_ORIGINS": "",
            "OPENAI_API_KEY": "key",
        }
    )
    assert settings.audit_share == 0.25 and settings.home == Path.home() / "store"
    assert settings.limit == Limits(open_seconds=2.5) and settings.embed_origins == ()
    assert [str(network) for network in settings.trusted_proxies] == ["10.0.0.0/8", "::1/128"]
    assert settings.openai_api_key == "key" and "key" not in repr(settings).replace("_key", "")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("RARL_AUDIT_SHARE", "10 %", "RARL_AUDIT_SHARE must be a number from 0 to 1;"),
        ("RARL_AUDIT_SHARE", "1.5", "RARL_AUDIT_SHARE must be a number from 0 to 1;"),
        ("RARL_AUDIT_SHARE", "nan", "RARL_AUDIT_SHARE must be a number from 0 to 1;"),
        ("RARL_TRUSTED_PROXIES", "proxy", "must be addresses or networks, such as 10.0.0.0/8"),
        ("RARL_PSEUDONYM_KEY", "too-short", "RARL_PSEUDONYM_KEY must be at least 16 characters;"),
        ("RARL_LIMIT_FRAMES", "2.5", "RARL_LIMIT_FRAMES must be a whole number above 0;"),
        ("RARL_LIMIT_OPEN_SECONDS", "inf", "RARL_LIMIT_OPEN_SECONDS must be a number above 0;"),
        ("RARL_LIMIT_OPEN_SECONDS", "-1", "RARL_LIMIT_OPEN_SECONDS must be a number above 0;"),
    ],
)
def test_a_value_that_cannot_be_used(name: str, value: str, says: str) -> None:
    with pytest.raises(SettingError) as caught:
        read_settings({name: value})
    assert says in str(caught.value) and value not in str(caught.value).split(";")[0].split()


def test_nothing_is_read_but_what_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RARL_MODEL", "qwen")
    assert read_settings({}).model is None and read_settings().model == "qwen"


def test_the_table_in_the_documents_is_that_of_the_settings(tmp_path: Path) -> None:
    script = [sys.executable, ROOT / "scripts/settings_table"]
    done = subprocess.run([*script, "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    page = tmp_path / "hosting.md"
    page.write_text("<!-- settings -->\nstale\n<!-- /settings -->\n", "utf-8")
    checked = subprocess.run(
        [*script, "--check", "--page", page], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 1 and "run scripts/settings_table" in checked.stderr
    subprocess.run([*script, "--page", page], check=True)
    text = page.read_text("utf-8")
    assert as_markdown() in text and "stale" not in text
    for name in known_settings():
        assert f"| `{name}` |" in text
    assert all(row.count("|") == 5 for row in as_markdown().splitlines())


def test_a_variable_of_the_site_is_left_alone() -> None:
    check_settings({"RARL_BACKUP_FOLDER": "/x", "OTHER_MODEL": "y", "RARL_TEAM": "z"})


@pytest.mark.parametrize("name", ["RARL_PIXELS", "RARL_FLAGS_PIXELS", "RARL_WEIGHTS"])
def test_a_mistyped_value_is_refused(name: str) -> None:
    with pytest.raises(SettingError, match=f"{name} must be"):
        check_settings({name: "kep"})

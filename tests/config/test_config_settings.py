"""Settings come from the environment that is handed over, secrets also from files, and every problem is named."""

from pathlib import Path

import pytest

from config.settings import Settings, SettingsError, secret_settings, unknown_variables


def test_defaults_need_nothing() -> None:
    settings = Settings.load({})
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8080, 1)
    assert settings.max_body_bytes == 10 * 1024 * 1024
    assert settings.config is None


def test_environment_and_overrides() -> None:
    environ = {"SIGNALBOX_PORT": "0", "SIGNALBOX_CONFIG": "a.yaml", "SIGNALBOX_WATCH": "false", "SIGNALBOX_HOST": ""}
    settings = Settings.load(environ, port=9000, workers=None)
    assert (settings.port, settings.config, settings.watch, settings.host) == (9000, Path("a.yaml"), False, "127.0.0.1")


def test_the_plain_constructor_reads_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNALBOX_PORT", "1234")
    assert Settings().port == 1234
    assert Settings(port=1).port == 1
    assert Settings.load({}).port == 8080


def test_secrets_are_masked_and_may_come_from_files(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("canary-secret\n")
    settings = Settings.load({"SIGNALBOX_ADMIN_KEY_FILE": str(file)})
    assert settings.admin_key is not None
    assert settings.admin_key.get_secret_value() == "canary-secret"
    assert "canary" not in repr(settings)


def test_every_problem_is_named_without_values(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    environ = {
        "SIGNALBOX_PORT": "70000",
        "SIGNALBOX_LOG_LEVEL": "loud",
        "SIGNALBOX_ADMIN_KEY": "canary",
        "SIGNALBOX_REDIS_URL_FILE": str(tmp_path / "empty"),
    }
    with pytest.raises(SettingsError) as caught:
        Settings.load(environ)
    text = str(caught.value)
    for name in ("SIGNALBOX_PORT", "SIGNALBOX_LOG_LEVEL", "SIGNALBOX_ADMIN_KEY", "SIGNALBOX_REDIS_URL_FILE"):
        assert name in text
    assert "canary" not in text


def test_a_secret_given_twice_is_refused() -> None:
    with pytest.raises(SettingsError, match="both set"):
        Settings.load({"SIGNALBOX_ADMIN_KEY": "long enough", "SIGNALBOX_ADMIN_KEY_FILE": "/f"})


def test_misspelt_variables_are_noticed() -> None:
    notes = unknown_variables(
        {"SIGNALBOX_PROT": "1", "SIGNALBOX_PORT": "1", "SIGNALBOX_REDIS_URL_FILE": "x", "PATH": "x"}
    )
    assert notes == ("SIGNALBOX_PROT is no setting and has no effect. Did you mean SIGNALBOX_PORT?",)


def test_every_setting_is_described() -> None:
    assert all(field.description for field in Settings.model_fields.values())
    assert set(secret_settings()) == {"redis_url", "admin_key"}

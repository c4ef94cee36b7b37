from __future__ import annotations

import stat

from cryptography.fernet import Fernet

from configs.settings import Settings
from seaway import secrets


def test_secrets_are_private_distinct_and_made_once(tmp_path):
    secrets.ensure(tmp_path, auth=False)
    made = {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()}
    assert set(made) == {"webhook", "control", "webhook_key", "mlflow_flask"}
    assert len(set(made.values())) == 4
    assert {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "secrets").iterdir()} == {0o600}
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    secrets.ensure(tmp_path, auth=True)
    later = {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()}
    assert {name: later[name] for name in made} == made
    assert set(later) - set(made) == {"mlflow_admin"}
    assert len(later["mlflow_admin"].strip()) >= 12


def test_the_webhook_key_is_a_fernet_key(tmp_path):
    secrets.ensure(tmp_path, auth=False)
    key = Fernet(Settings(home=tmp_path).secret("webhook_key"))
    assert key.decrypt(key.encrypt(b"x")) == b"x"

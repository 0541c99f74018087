"""Who may speak to a running service: the owner, whoever has a key of its file, and pages of its notebook panels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_service.service.keys import KeyFile, Keyring
from agent_service.service.login_codes import LoginCodes
from agent_service.service.panel_keys import PREFIX, PanelKey

if TYPE_CHECKING:
    from pydantic import SecretStr

    from agent_service.service.keys import Key
    from agent_service.service.panel_keys import PanelKeys
    from agent_service.state_dir import StateDir


class Access:
    """The keys of a service, the owner's among them, which is empty before `open`; belongs to the event loop."""

    def __init__(self, state_dir: StateDir, panel_keys: PanelKeys, given: SecretStr | None) -> None:
        self.panel_keys = panel_keys
        self.login_codes = LoginCodes()
        self.owner_key = ""
        self.owner_key_is_new = False
        self._state_dir = state_dir
        self._given = given
        self._keyring = Keyring(KeyFile(state_dir.keys_file), "")

    def open(self) -> None:
        """Read the keys, or raise `UsageError`; call it with the state directory locked."""
        if self._given is not None:
            self.owner_key = self._given.get_secret_value()
        else:
            self.owner_key, self.owner_key_is_new = self._state_dir.api_key()
        self._keyring = Keyring(KeyFile(self._state_dir.keys_file), self.owner_key)
        self._keyring.load()

    def find(self, secret: str) -> Key | None:
        """Return a key, None when it is unknown, revoked or ended by now; raises when nobody can say that now."""
        of_page = secret.startswith(PREFIX)
        key = self.panel_keys.find(secret, holds=self._keyring.holds) if of_page else self._keyring.find(secret)
        if key is None:
            self._keyring.refuse_unread()
        return key

    def holds(self, key: Key) -> bool:
        """Return whether a key that was found before is still valid."""
        if isinstance(key, PanelKey):
            return self.panel_keys.holds(key, holds=self._keyring.holds)
        return self._keyring.holds(key)

"""Errors that help: what is wrong, why it matters, how to fix it.

`InputError` is for everything a user can cause: files, configs, command lines, notebook parameters. What only a mistake
in this package can cause is an `assert`.
"""


class InputError(ValueError):
    """A user's input cannot be used. One screen: what, why, and how to fix it."""

    def __init__(self, what: str, *, why: str, fix: str):
        self.what, self.why, self.fix = what, why, fix
        super().__init__(f"{what}. {why[:1].upper()}{why[1:]}. To fix: {fix}.")


def need(ok: bool, what: str, *, why: str, fix: str) -> None:
    """Raise `InputError` unless ``ok``."""
    if not ok:
        raise InputError(what, why=why, fix=fix)

"""The commands of `binaural`, one dataclass each: its fields are the options, their docstrings the help, ``run`` does it."""

"""Networks. Each file is one network or one set of losses; they load when first used."""

import importlib

_MODULES = (
    "alias_free",
    "bigvgan",
    "bigvgan_config",
    "blocks",
    "cqt",
    "diffbinaural",
    "discriminators",
    "localizer",
    "mono2binaural",
    "mono_phase",
    "resnet",
    "unet",
    "visual",
    "vocoder_losses",
    "vocoding",
    "weight_norm",
)


def __getattr__(name: str):
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(_MODULES)

"""How good is it, with numbers one can trust: folders or systems in; tables, their spread, and a report out.

>>> evaluate_audio("predicted", "true", out="outputs/measures").mean["ild_error_db"]      # doctest: +SKIP
"""

from binaural_core.evaluation.folders import Report, evaluate_audio, evaluate_mels
from binaural_core.evaluation.results import Results

__all__ = ["Report", "Results", "evaluate_audio", "evaluate_mels"]

"""What the course's notebooks stand on: typed parameters, a run card, recorded numbers, and a way to run them.

A notebook begins with ``parameters = DataLoading.take(globals())`` and ends with ``record(loss=...)``; from outside,
``run_notebook(path, {"seed": 3})`` refuses what the notebook does not know, runs it offline and returns its numbers.
"""

from binaural_core.notebooks.course import (
    Conditioning,
    DataLoading,
    DemoResult,
    DiffusionTheory,
    Evaluation,
    ManyGpus,
    MelSpectrograms,
    ScheduledSampling,
    SetUp,
    TrainingStage1,
    TrainingVocoder,
)
from binaural_core.notebooks.parameters import Between, Parameters
from binaural_core.notebooks.recording import METRICS_MIME, read_metrics, record, show, table
from binaural_core.notebooks.run import Run, WidgetFailed, run_notebook

__all__ = [
    "METRICS_MIME",
    "Between",
    "Conditioning",
    "DataLoading",
    "DemoResult",
    "DiffusionTheory",
    "Evaluation",
    "ManyGpus",
    "MelSpectrograms",
    "Parameters",
    "Run",
    "ScheduledSampling",
    "SetUp",
    "TrainingStage1",
    "TrainingVocoder",
    "WidgetFailed",
    "read_metrics",
    "record",
    "run_notebook",
    "show",
    "table",
]

"""What the tests of stage 2's training share: tiny configs and batches."""

import numpy as np
import torch

from binaural_core.data.catalog import DatasetConfig
from binaural_core.data.mel_pairs import CONTEXT_FRAMES, Segment, collate_mels
from binaural_core.data.rendered import RenderedConfig
from binaural_core.models.bigvgan import BigVGANConfig
from binaural_core.scene.casting import SceneConfig
from binaural_core.seeds import stream
from binaural_core.training import stage2
from binaural_core.training.run import RunConfig

RATE, HOP = 22_050, 256
TINY = {
    "resblock": "2", "upsample_rates": [8, 8, 2, 2], "upsample_kernel_sizes": [16, 16, 4, 4],
    "upsample_initial_channel": 16, "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1]],
    "activation": "snakebeta", "snake_logscale": True, "num_mels": 80, "n_fft": 1024, "hop_size": 256,
    "win_size": 1024, "sampling_rate": 22050, "segment_size": 6144, "learning_rate": 1e-3, "freeze_step": 2,
    "mpd_reshapes": [2], "resolutions": [[512, 128, 512]], "discriminator_channel_mult": 0.0625,
}  # fmt: skip
RUN = {"batch_size": 2, "log_steps": 1, "checkpoint_steps": 3, "validate_epochs": 1, "epochs": 2}
SCENES = DatasetConfig(
    scenes={"train": 4, "val": 2},
    rendered=RenderedConfig(scene=SceneConfig(duration_s=1.2, reverberant=0.0), width_px=96, height_px=54),
)


class Stop(Exception):
    pass


def config_in(folder, **changes) -> stage2.Stage2Config:
    """A tiny training on rendered scenes; ``vocoder`` holds changes of the vocoder's config."""
    vocoder = BigVGANConfig.from_public(TINY | changes.pop("vocoder", {})).save_json(folder / "tiny.json")
    run = RUN | {name: changes.pop(name) for name in list(changes) if name in RUN | {"keep_epochs": 0, "workers": 0}}
    run = RunConfig(id="two", checkpoints=str(folder), decay_epochs=0, precision="fp32", device="cpu", **run)
    return stage2.Stage2Config(vocoder=str(vocoder), run=run, **({"dataset": SCENES, "rounds": 2} | changes))


def true_folders(root):
    return {
        f"mel_{ear}_{split}_dir": str(root / "true" / ear / split)
        for ear in ("left", "right")
        for split in ("train", "val")
    }


def sampled(folder, recordings, **changes) -> stage2.Stage2Config:
    """2b: true mels from folders, predicted ones, the share rising."""
    more = true_folders(recordings) | {"mel_pred_dir": str(recordings / "predicted"), "use_scheduled_sampling": True}
    settings = {"audio_dir": str(recordings / "wav"), "schedule": "linear", "rounds": 1} | more | changes
    return config_in(folder, **settings)


def batch_of(wave_EN, predicted_EMF=None, true_EMF=None, gain=1.0, index=0):
    return collate_mels([Segment("a", index, gain, wave_EN, true_EMF, predicted_EMF)], HOP)


def noise_batch(predicted=-5.0, frames=24):
    waves = 0.1 * torch.randn(2, (frames + 2 * CONTEXT_FRAMES) * HOP, generator=stream(0, "w"))
    return batch_of(waves.numpy(), np.full((2, 80, frames), predicted, np.float32))

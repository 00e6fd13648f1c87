"""The letters that shapes are written in, and one check at the public boundary.

B batch, E ears (2, row 0 = left), M mel bands, F mel frames, N samples, L video frames of a window, O objects per video
frame, C channels, D features, H and W picture height and width, K frequency bins. A tensor's name carries its letters as
a suffix: ``mel_BEMF``, ``crops_BLOCHW``.
"""

from binaural_core.errors import InputError


def check(array, shape: str, name: str) -> dict[str, int]:
    """Check an array against letters and numbers such as ``"B 2 M F"`` and return what each letter stands for.

    A letter may stand for any length but for one length only; a number must match.
    Raises InputError naming the array, the shape it has and the shape it needs.
    """
    wanted, sizes = shape.split(), {}
    fits = len(wanted) == len(array.shape)
    for letter, size in zip(wanted, array.shape, strict=False):
        expected = int(letter) if letter.isdigit() else sizes.setdefault(letter, int(size))
        fits = fits and expected == size
    if not fits:
        raise InputError(
            f"{name} has shape {tuple(array.shape)}, not ({', '.join(wanted)})",
            why="every axis has a fixed meaning (see binaural_core.shapes)",
            fix=f"bring {name} to ({', '.join(wanted)})",
        )
    return sizes

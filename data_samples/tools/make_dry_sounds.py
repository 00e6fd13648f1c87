"""Make the dry sounds of data_samples/dry: instruments, drums and voices without any room.

    apt-get install fluidsynth fluid-soundfont-gm espeak-ng
    python data_samples/tools/make_dry_sounds.py --out data_samples/dry

Every melody, rhythm and sentence below was written for this repository. The instruments are FluidR3 GM (MIT licence)
played by fluidsynth without reverb and chorus; the talkers are espeak-ng voices. One recording belongs to one split:
the test split hears kinds of instruments it knows, playing and saying what no other split has heard.

A melody is written as ``note:beats``, notes that sound together joined by ``+``, ``r`` for a rest. A rhythm is one line
per drum, one letter per sixteenth: ``x`` a hit, ``o`` a soft hit, ``.`` nothing.
"""

import argparse
import csv
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

SAMPLE_RATE_HZ = 22_050
SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
PEAK = 10 ** (-3 / 20)
LOUDEST_RMS = 10 ** (-18 / 20)  # steady tones stay softer, so that scenes mix recordings of about equal loudness
TICKS_PER_BEAT = 480
SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
DRUM_KEYS = {
    "kick": 36,
    "snare": 38,
    "stick": 37,
    "hat": 42,
    "open": 46,
    "ride": 51,
    "crash": 49,
    "low": 45,
    "high": 50,
}


@dataclass(frozen=True)
class Melody:
    """Notes for one General MIDI program."""

    name: str
    label: str
    split: str
    program: int
    beats_per_minute: float
    notes: str
    legato: float = 0.95  # sounding share of each note's length
    velocity: int = 92

    def how(self) -> str:
        return f"fluidsynth, FluidR3 GM program {self.program}, own melody"


@dataclass(frozen=True)
class Rhythm:
    """Lines of hits for the General MIDI drum channel, in sixteenths, played ``times`` times."""

    name: str
    label: str
    split: str
    beats_per_minute: float
    times: int
    lines: dict[str, str]
    kit: int = 0

    def how(self) -> str:
        return f"fluidsynth, FluidR3 GM drum kit {self.kit}, own rhythm"


@dataclass(frozen=True)
class Speech:
    """A sentence for one espeak-ng voice."""

    name: str
    label: str
    split: str
    voice: str
    words_per_minute: int
    pitch: int
    text: str

    def how(self) -> str:
        return f"espeak-ng voice {self.voice}, own text"


PIECES: list[Melody | Rhythm | Speech] = [
    # train
    Melody("piano_harbour", "piano", "train", 0, 96,
           "C3+G4:.5 E4:.5 G4:.5 C5:.5 A2+E5:.5 C5:.5 A4:.5 E4:.5 F2+F4:.5 A4:.5 C5:.5 F5:.5 G2+D5:.5 B4:.5 G4+B4:1"),
    Melody("piano_stairs", "piano", "train", 0, 132,
           "D4+D2:.5 F4:.5 A4:.5 D5:.5 C5:.5 A4:.5 F4:.5 C4+C2:.5 E4:.5 G4:.5 C5:.5 Bb4:.5 G4:.5 E4:.5 A2+F4+A4:1 "
           "A2+E4+A4:1 D2+D4+F4+A4:2", velocity=100),
    Melody("violin_meadow", "violin", "train", 40, 100,
           "D5:1 E5:.5 F#5:.5 A5:1.5 F#5:.5 G5:.5 F#5:.5 E5:.5 D5:.5 E5:1 A4:1", legato=1.02),
    Melody("cello_evening", "cello", "train", 42, 84,
           "G2:1 D3:.5 E3:.5 G3:1 F#3:.5 E3:.5 D3:1 C3:.5 B2:.5 A2:1", legato=1.02, velocity=100),
    Melody("guitar_porch", "guitar", "train", 24, 104,
           "E2:.5 B3:.5 G3:.5 E4:.5 B3:.5 G3:.5 C3:.5 G3:.5 E4:.5 C4:.5 G3:.5 E3:.5 D3:.5 A3:.5 F#4:.5 D4:.5 "
           "E2+B3+E4:1", legato=1.6),
    Melody("flute_birdsong", "flute", "train", 73, 112,
           "A5:.75 B5:.25 C6:.5 A5:.5 E5:1 F5:.5 G5:.5 A5:.5 G5:.5 F5:.5 E5:.5 D5:.5 E5:.5 A5:1.5", legato=0.98),
    Melody("trumpet_morning", "trumpet", "train", 56, 116,
           "G4:.5 C5:.5 C5:.25 D5:.25 E5:1 D5:.5 C5:.5 G5:1.5 E5:.5 F5:.5 E5:.5 D5:.5 G4:.5 C5:1.5", legato=0.9),
    Melody("marimba_rain", "marimba", "train", 12, 126,
           "C4:.25 G4:.25 C5:.25 E5:.25 D5:.25 C5:.25 G4:.25 E4:.25 A3:.25 E4:.25 A4:.25 "
           "C5:.25 B4:.25 A4:.25 E4:.25 C4:.25 "
           "F3:.25 C4:.25 F4:.25 A4:.25 C5:.25 A4:.25 F4:.25 C4:.25 G3:.25 D4:.25 G4:.25 "
           "B4:.25 D5:.25 B4:.25 G4:.25 D4:.25 "
           "C4+C5:.5 G4+E5:.5 C4+C5:1"),
    Rhythm("drum_parade", "drum", "train", 108, 2, {
        "kick":  "x...x...x...x...",
        "snare": "..o.x.oo..o.x.xx",
        "hat":   "x.x.x.x.x.x.x.x."}),
    Rhythm("drum_kitchen", "drum", "train", 96, 2, {
        "kick":  "x.....x.x.......",
        "stick": "....x.......x..o",
        "low":   "......o...x.....",
        "high":  "..........o.x.x.",
        "ride":  "x.x.x.x.x.x.x.x."}, kit=8),
    Speech("speaker_window", "speaker", "train", "en-gb", 165, 40,
           "Please open the window a little, there is a blackbird in the garden and I would like to hear it."),
    Speech("speaker_ferry", "speaker", "train", "en-us+f2", 170, 60,
           "The last ferry leaves at seven, so we bought warm bread and walked down to the quay."),
    Speech("speaker_clock", "speaker", "train", "en-gb-scotland+m3", 160, 35,
           "My grandfather repaired clocks, and every room of his house was ticking at its own speed."),
    Speech("speaker_brot", "speaker", "train", "de+f4", 165, 55,
           "Am Samstag backen wir Brot, dann riecht das ganze Haus bis unter das Dach nach Roggen."),
    Melody("singer_hill", "singer", "train", 53, 92,
           "E4:1 G4:.5 A4:.5 B4:1 A4:.5 G4:.5 E4:.5 D4:.5 E4:1 G4:1", legato=1.0, velocity=105),
    Melody("singer_lantern", "singer", "train", 52, 96,
           "A3:.5 C4:.5 D4:1 F4:.5 E4:.5 D4:.5 C4:.5 A3:1 G3:.5 A3:.5 C4:1.5", legato=1.0, velocity=105),
    # val
    Melody("piano_letter", "piano", "val", 0, 88,
           "A2+A4:1 C5:.5 B4:.5 F2+A4:.5 C4:.5 F4:.5 A4:.5 C3+G4:1 E4:.5 C4:.5 E2+G#4:.5 B3:.5 E4+B4:1"),
    Melody("violin_snow", "violin", "val", 40, 92,
           "B4:.5 E5:1 G5:.5 F#5:.5 E5:.5 D#5:1 B4:.5 C5:.5 E5:.5 A5:1 G5:.5 F#5:.5", legato=1.02),
    Rhythm("drum_engine", "drum", "val", 120, 2, {
        "kick":  "x..x..x.x..x..x.",
        "snare": "....x..o....x.oo",
        "open":  "..x...x...x...x."}),
    Speech("speaker_map", "speaker", "val", "en-us+m7", 165, 45,
           "We lost the map near the old mill, yet every path we took came back to the same bridge."),
    Melody("singer_cradle", "singer", "val", 53, 84,
           "C4:.5 F4:1 G4:.5 A4:1 G4:.5 F4:.5 D4:1 C4:.5 D4:.5 F4:1", legato=1.0, velocity=105),
    # test
    Melody("piano_market", "piano", "test", 0, 120,
           "G2+B4:.5 D5:.5 G4:.5 B4:.5 E2+E5:.5 D5:.5 B4:.5 G4:.5 C3+E5:.5 G5:.5 E5:.5 C5:.5 "
           "D3+A4:.5 F#4:.5 D5:.5 C5:.5 "
           "G2+G4+B4:2", velocity=98),
    Melody("violin_train_ride", "violin", "test", 40, 126,
           "G4:.5 Bb4:.5 D5:.5 G5:.5 F5:1 Eb5:.5 D5:.5 C5:.5 D5:.5 Eb5:.5 C5:.5 D5:1.5 A4:.5 Bb4:.5 G4:1", legato=1.0),
    Melody("guitar_river", "guitar", "test", 24, 96,
           "A2:.5 E3:.5 A3:.5 C4:.5 E4:.5 C4:.5 D3:.5 A3:.5 F4:.5 D4:.5 A3:.5 F3:.5 "
           "E3+G#3+B3:1 A2+A3+C4:1", legato=1.6),
    Rhythm("drum_workshop", "drum", "test", 100, 2, {
        "kick":  "x.....x...x.....",
        "snare": "....x..o.o..x..x",
        "hat":   "x.xxx.x.x.xxx.x."}),
    Speech("speaker_kettle", "speaker", "test", "en-gb-x-rp+f3", 165, 58,
           "When the kettle began to sing, the cat left the armchair and sat down beside the stove."),
    Speech("speaker_orchard", "speaker", "test", "en-us+m5", 165, 38,
           "Nobody had counted the apple trees, but the children knew the name of each of them."),
    Melody("singer_tide", "singer", "test", 52, 96,
           "D4:.5 E4:.5 F4:1 A4:1 G4:.5 F4:.5 E4:1 C4:.5 E4:.5 D4:1.5", legato=1.0, velocity=105),
]  # fmt: skip


def midi_key(note: str) -> int:
    """MIDI key of a note such as ``Bb3`` or ``F#5`` (C4 = 60)."""
    shift = {"#": 1, "b": -1}.get(note[1], 0)
    return 12 * (int(note[-1]) + 1) + SEMITONES[note[0]] + shift


def melody_events(melody: Melody) -> list[tuple[int, bytes]]:
    events, tick = [(0, bytes([0xC0, melody.program]))], 0
    for position, word in enumerate(melody.notes.split()):
        names, beats = word.split(":")
        length = round(float(beats) * TICKS_PER_BEAT)
        velocity = melody.velocity - 6 * (position % 2) - 3 * (position % 3 == 2)  # a little life
        for key in [] if names == "r" else [midi_key(name) for name in names.split("+")]:
            events.append((tick, bytes([0x90, key, velocity])))
            events.append((tick + round(length * melody.legato), bytes([0x80, key, 0])))
        tick += length
    return events


def rhythm_events(rhythm: Rhythm) -> list[tuple[int, bytes]]:
    events, sixteenth = [(0, bytes([0xC9, rhythm.kit]))], TICKS_PER_BEAT // 4
    for drum, line in rhythm.lines.items():
        for position, hit in enumerate(line * rhythm.times):
            if hit != ".":
                velocity = (112 if hit == "x" else 68) - 5 * (position % 4 == 2)
                tick = position * sixteenth
                events.append((tick, bytes([0x99, DRUM_KEYS[drum], velocity])))
                events.append((tick + sixteenth, bytes([0x89, DRUM_KEYS[drum], 0])))
    return events


def midi_file(events: list[tuple[int, bytes]], beats_per_minute: float, tail_beats: float = 1.0) -> bytes:
    """A Standard MIDI File of one track. Note-offs come before note-ons of the same tick."""
    microseconds = round(60e6 / beats_per_minute)
    ordered = sorted(events, key=lambda e: (e[0], {0xC: 0, 0x8: 1, 0x9: 2}[e[1][0] >> 4]))
    last = ordered[-1][0] + round(tail_beats * TICKS_PER_BEAT)
    timed = [(0, b"\xff\x51\x03" + microseconds.to_bytes(3, "big")), *ordered, (last, b"\xff\x2f\x00")]
    track, now = b"", 0
    for tick, message in timed:
        track += variable_length(tick - now) + message
        now = tick
    return struct.pack(">4sIHHH", b"MThd", 6, 0, 1, TICKS_PER_BEAT) + struct.pack(">4sI", b"MTrk", len(track)) + track


def variable_length(number: int) -> bytes:
    digits = [number & 0x7F]
    while number := number >> 7:
        digits.append(0x80 | (number & 0x7F))
    return bytes(reversed(digits))


def play(piece: Melody | Rhythm, folder: Path) -> Path:
    events = melody_events(piece) if isinstance(piece, Melody) else rhythm_events(piece)
    (folder / "piece.mid").write_bytes(midi_file(events, piece.beats_per_minute))
    options = ["-ni", "-q", "-R", "0", "-C", "0", "-g", "0.5", "-r", "44100", "-T", "wav", "-O", "float"]
    command = ["fluidsynth", *options, "-F", str(folder / "piece.wav"), str(SOUNDFONT), str(folder / "piece.mid")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder / "piece.wav"


def speak(piece: Speech, folder: Path) -> Path:
    wave = folder / "piece.wav"
    options = ["-v", piece.voice, "-s", str(piece.words_per_minute), "-p", str(piece.pitch)]
    subprocess.run(["espeak-ng", *options, "-w", str(wave), piece.text], check=True)
    return wave


def finish(wave_CN: np.ndarray, sample_rate_hz: int, longest_s: float = 4.8) -> np.ndarray:
    """Mono at 22,050 Hz: trimmed at -45 dB, faded in 5 ms and out 60 ms; peak -3 dBFS, or RMS -18 dBFS if that is softer."""
    mono_N = soxr.resample(wave_CN.mean(axis=0).astype(np.float64), sample_rate_hz, SAMPLE_RATE_HZ, quality="VHQ")
    mono_N = mono_N - mono_N.mean()
    loud = np.flatnonzero(np.abs(mono_N) > np.abs(mono_N).max() * 10 ** (-45 / 20))
    start = max(int(loud[0]) - SAMPLE_RATE_HZ // 200, 0)
    mono_N = mono_N[start : min(int(loud[-1]), start + round(longest_s * SAMPLE_RATE_HZ))]
    fade_in, fade_out = SAMPLE_RATE_HZ // 200, SAMPLE_RATE_HZ * 6 // 100
    mono_N[:fade_in] *= np.sin(np.linspace(0, np.pi / 2, fade_in)) ** 2
    mono_N[-fade_out:] *= np.cos(np.linspace(0, np.pi / 2, fade_out)) ** 2
    return mono_N * min(PEAK / np.abs(mono_N).max(), LOUDEST_RMS / np.sqrt((mono_N**2).mean()))


def make(out: Path) -> None:
    rows = []
    for piece in PIECES:
        with tempfile.TemporaryDirectory() as folder:
            source = speak(piece, Path(folder)) if isinstance(piece, Speech) else play(piece, Path(folder))
            wave_NC, sample_rate_hz = soundfile.read(source, always_2d=True)
        mono_N = finish(wave_NC.T, sample_rate_hz)
        path = out / piece.split / f"{piece.name}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(
            path, np.round(mono_N * 32767).astype(np.int16), SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_16"
        )
        rows.append([path.relative_to(out).as_posix(), piece.label, piece.split, piece.how()])
        print(f"{rows[-1][0]:38} {len(mono_N) / SAMPLE_RATE_HZ:.2f} s")
    with open(out / "index.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([["file", "label", "split", "how"], *rows])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("data_samples/dry"))
    make(parser.parse_args().out)

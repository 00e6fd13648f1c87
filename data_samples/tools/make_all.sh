#!/bin/sh
# Make the dry sounds and the clips of data_samples again, in a folder:
#     apt-get install fluidsynth fluid-soundfont-gm espeak-ng
#     data_samples/tools/make_all.sh FOLDER
# The head comes from make_hrtf.py and the weights from trainings (see README.md); both are copied. The seeds were chosen so
# that the few clips of each split cover one to three sources, still and moving, in the open and in rooms, and so that test
# sources stand well apart from the middle.
set -eu
[ $# -eq 1 ] || { echo "Usage: $0 FOLDER (a new one, or an empty one)" >&2; exit 2; }
mkdir -p "$1"
[ -z "$(ls -A "$1")" ] || { echo "$1 is not empty. To fix: give a new folder." >&2; exit 1; }
out=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.."
python=${PYTHON:-.venv/bin/python}
export OMP_NUM_THREADS=1 BINAURAL_DATA_SAMPLES="$out"

cp -r data_samples/hrtf "$out/hrtf"
cp -r data_samples/weights "$out/weights"
"$python" data_samples/tools/make_dry_sounds.py --out "$out/dry"

scenes() { # folder layout split count seed durations
    "$python" -m binaural_core scenes --out "$out/$1" --layout "$2" --split "$3" --count "$4" --seed "$5" \
        --set "duration_s=$6"
}
scenes fair_play fairplay train 4 138 "[3.0,5.0]"
scenes fair_play fairplay val 2 109 "[3.0,5.0]"
scenes fair_play fairplay test 3 1597 "[3.0,5.0]"
scenes real_binaural realbinaural train 4 205 "[3.0,4.0]"
scenes real_binaural realbinaural val 2 207 "[3.0,4.0]"
scenes real_binaural realbinaural test 2 365 "[3.0,4.0]"

cd "$out"
find dry fair_play hrtf real_binaural weights -type f | LC_ALL=C sort | xargs sha256sum > SHA256SUMS

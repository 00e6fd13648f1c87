"""Lists as they are met: foreign prefixes, other suffixes, no newline at the end."""

import h5py
import pytest
from hand_built import write_h5, write_text

from binaural_core.data.splits import Shelf, base_name, natural_key, read_list
from binaural_core.errors import InputError


def names(path):
    return [entry.name for entry in read_list(path)]


def test_h5_entries_lose_their_foreign_prefix(tmp_path):
    path = write_h5(tmp_path / "train.h5", ["/disk7/x/binaural_audios/000010.wav", "C:\\d\\000002.wav", "000001.mp3"])
    assert names(path) == ["000010", "000002", "000001"]


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_txt_keeps_its_last_entry_whatever_ends_it(tmp_path, end):
    assert names(write_text(tmp_path / "val.txt", "000003.mp3\n000001.mp3\n001325.mp3" + end)) == [
        "000003",
        "000001",
        "001325",
    ]


def test_an_entry_that_stands_twice_is_read_once(tmp_path):
    assert names(write_text(tmp_path / "val.txt", "2.mp3\n1.mp3\n2.wav")) == ["2", "1"]


def test_csv_gives_paths_and_lengths(tmp_path):
    path = write_text(tmp_path / "list.csv", "\ufeffaudio_path, video_path,duration\n/x/a.wav,/x/a,9.5\n/x/b.wav,,\n\n")
    a, b = read_list(path)
    assert (a.name, a.audio_path, a.video_path, a.duration_s) == ("a", "/x/a.wav", "/x/a", 9.5)
    assert (b.name, b.video_path, b.duration_s) == ("b", "", None)


@pytest.mark.parametrize(
    "name, content, said",
    [
        ("l.csv", "path,length\na.wav,1\n", "no column audio_path"),
        ("l.csv", "audio_path,duration\na.wav,long\n", "line 2: duration is 'long'"),
        ("l.txt", "\n \n", "is empty"),
        ("l.h5", "no h5", "It is no h5 file"),
        ("l.json", "[]", "unknown kind"),
    ],
)
def test_lists_that_cannot_be_read_are_named(tmp_path, name, content, said):
    with pytest.raises(InputError, match=said) as error:
        read_list(write_text(tmp_path / name, content))
    assert name in str(error.value)


def test_an_h5_list_without_the_key_says_which_keys_it_has(tmp_path):
    with h5py.File(tmp_path / "train.h5", "w") as file:
        file["sound"] = [1]
    with pytest.raises(InputError, match=r"no key 'audio'.*sound"):
        read_list(tmp_path / "train.h5")


def test_names_lose_only_suffixes_that_are_known():
    assert base_name("/a/b/take.1.WAV") == "take.1"
    assert base_name("000001.mp4") == "000001"
    assert base_name("take.1") == "take.1"


def test_numbers_sort_as_numbers():
    assert sorted(["f10", "f9", "f100", "e11"], key=natural_key) == ["e11", "f9", "f10", "f100"]


def test_a_shelf_finds_by_name_then_by_number_and_prefers_wav(tmp_path):
    for name in ("000007.mp3", "000007.wav", "12.wav", ".hidden.wav", "notes.md"):
        write_text(tmp_path / name, "x")
    shelf = Shelf([tmp_path, tmp_path / "nowhere"], (".wav", ".mp3"))
    assert shelf.names() == ["000007", "12"]
    assert shelf.find("x/7.flac").name == "000007.wav"
    assert shelf.find("000012").name == "12.wav"
    assert shelf.find("8") is None

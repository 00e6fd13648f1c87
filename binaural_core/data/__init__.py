"""From files or scenes to batches.

A layout (`fair_play`, `real_binaural`, `rendered`, `unreferenced`) lists `Clip`s; `loading` cuts windows out of them and
makes batches; `crops` turns pictures into what the visual network sees; `augment` varies a window. `frames` reads and
extracts pictures, `objects` reads boxes and places, `splits` lists.
"""

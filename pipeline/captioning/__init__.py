"""Captions of one's own clips: files that are in no store.

    with open_captioner(params) as captioner:           # loaded once
        captioned = captioner.caption(Path("holiday.mp4"))
        print(captioned.text, captioner.trained_on, captioned.is_far)

`files` finds the videos that a command line names and checks them, `loading` opens the captioner, `clips` captions,
`windows` follows the scenes of long videos, `subtitles` makes SRT and WebVTT.
"""

"""The library: its rooms follow the data's way, and no import goes back up (CONTRIBUTING.md)."""

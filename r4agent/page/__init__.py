"""Pages: what was asked, seen and answered, as files that a browser opens from disk.

Promises: one self-contained HTML file, no network; whatever text a video holds is shown as text.
Does not: run anything or change a log.
"""

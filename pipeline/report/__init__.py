"""The HTML report: one file that shows what a run did. No network, no files read but the package's own.

`page.render(ReportData) -> str` makes the page, `gallery` chooses and prepares the shown videos,
`tables` the numbers beside their reference lines, `plots` the inline SVG.
"""

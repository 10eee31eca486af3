"""The HTML report: one file that shows what a run did. It needs no network.

`reading.read_report_data` collects what the other stages made (`facts`, `formats`, `film_strips`), and
`page.render(ReportData) -> str` makes the page of it: `gallery` chooses and prepares the shown videos, `tables` the
numbers beside their reference lines, `plots` the inline SVG.
"""

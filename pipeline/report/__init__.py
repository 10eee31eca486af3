"""The HTML report: one file that shows what a run did. It needs no network.

`reading.read_report_data` collects what the other stages made (`facts`, `formats`, `film_strips`), and
`page.render(ReportData) -> str` makes the page of it: `gallery` prepares what is shown of every video (`gallery.js`
makes cards of it as they come into view), `tables` the numbers beside their reference lines, `charts` the charts that
are HTML, `plots` the training curves as inline SVG.
"""

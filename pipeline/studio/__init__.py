"""A web app on this machine alone: drop a clip and see what captioners make of it; look through a data set's captions.

`session` holds the models and captions one clip at a time, `browsing` reads a data set's predictions, `app` answers
the browser (`studio.html`, `studio.js`, `studio.css`, and the report's `cards.js` and `style.css`), `server` finds a
port and runs it. What a browser sends is untrusted: a clip is decoded in a process of its own, its name is only ever
shown as text.
"""

"""What a page of a report holds, read as a browser would."""

from __future__ import annotations

from html.parser import HTMLParser


class Page(HTMLParser):
    """Tags, images, texts and what points outside of a page."""

    def __init__(self, text):
        super().__init__()
        self.images, self.tags, self.outside, self.texts, self.labels = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append(tag)
        if tag == "img":
            self.images.append(values)
        if values.get("role") == "img":
            self.labels.append(values["aria-label"])
        links = (values[key] for key in ("src", "href") if key in values)
        self.outside += [link for link in links if not link.startswith(("data:", "#"))]

    def handle_data(self, data):
        self.texts.append(data)

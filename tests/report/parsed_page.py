"""A page taken apart by the standard library's parser."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "img", "input", "link", "br", "hr", "circle", "path"}
FETCHING = {"src", "href", "srcset", "poster", "action", "data", "xlink:href"}


@dataclass
class Page(HTMLParser):
    """Open tags, text and what a browser would fetch."""

    html: str
    stack: list = field(default_factory=list)
    faults: list = field(default_factory=list)
    links: list = field(default_factory=list)
    tags: list = field(default_factory=list)
    chunks: list = field(default_factory=list)

    def __post_init__(self):
        HTMLParser.__init__(self)
        self.feed(self.html)
        self.close()
        self.faults += [f"never closed: {tag}" for tag in self.stack]

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.chunks.append(" " if tag in {"td", "th", "dt", "dd", "p", "li"} else "")
        self.links += [value for name, value in attrs if name in FETCHING and value]
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.stack or self.stack.pop() != tag:
            self.faults.append(f"closed out of order: {tag} at {self.getpos()}")

    def handle_data(self, data):
        if not {"script", "style"} & set(self.stack):
            self.chunks.append(data)

    @property
    def text(self):
        return " ".join("".join(self.chunks).replace("\u00a0", " ").split())

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

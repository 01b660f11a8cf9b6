"""The tags and filters that templates of messages may use: none reads a file, another template or the settings, and
none makes a long text of a short one.
"""

from django.template import Library, defaultfilters, defaulttags

TAGS = ("if", "for", "with", "firstof", "comment")
FILTERS = (
    *("upper", "lower", "title", "capfirst", "truncatechars", "truncatewords", "pluralize", "yesno", "default"),
    *("length", "first", "last", "escape", "linebreaks", "linebreaksbr", "urlencode", "cut"),
)

register = Library()
for name in TAGS:
    register.tag(name, defaulttags.register.tags[name])
for name in FILTERS:
    register.filter(name, defaultfilters.register.filters[name])

"""Cells of feeds: HTML that becomes plain text, and texts that only look like it."""

import pytest

from examples.feed_values import plain_text


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("<p>One</p>\n\n<p>Two<br/>three</p>", "One\nTwo\nthree"),
        ("<ul>\n<li>A</li><li class='x'>B &ndash; &quot;C&quot;</li></ul>", 'A\nB – "C"'),
        ("<table><tr><td>Size</td><td>M</td></tr></table>", "Size M"),
        ("a<script>if (a < b) { '<p>' }</script><style>p {}</style> <b>b</b>", "a b"),
        ("&lt;p&gt;escaped&lt;/p&gt; twice", "escaped\ntwice"),
        ("Salt &amp; pepper&nbsp;&#8211; 5 &deg;C\nnext", "Salt & pepper – 5 °C\nnext"),
    ],
)
def test_html_is_read_as_a_browser_shows_it(written: str, meant: str) -> None:
    assert plain_text(written) == meant


@pytest.mark.parametrize(
    "text", ["", "Holds <5 l\n\n and >3 l", "a<x and x>c", "R&D, AT&T; fish & chips;", "for <size> M", "x & y; z"]
)
def test_what_is_no_html_stays_as_it_is(text: str) -> None:
    assert plain_text(text) == text

"""How a page looks: opened in Chromium at a desk and on a phone, by day and by night."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chromium import Page

LEAST_CONTRAST = 4.5
"""Of letters and what is behind them: level AA of the W3C's Web Content Accessibility Guidelines 2.2, 1.4.3."""
PHONE = 390
"""Width of a common phone's page, pixels."""
_FAINT = """(() => {
  const channel = (v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const behind = (element) => {
    for (; element; element = element.parentElement) {
      const colour = numbers(getComputedStyle(element).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const shown = (e) => e.checkVisibility() && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
  return [...document.body.querySelectorAll("*")].filter(shown).map((element) => {
    const [a, b] = [numbers(getComputedStyle(element).color), behind(element)].map(light);
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), element.textContent.trim().slice(0, 40)];
  }).sort(([a], [b]) => a - b)[0];
})()"""


@contextmanager
def opened(path: Path, folder: Path) -> Iterator[Page]:
    """The page; at the end it has been looked at in all four ways, and its console has said nothing."""
    with Page(path, folder) as page:
        yield page
        for width in (1100, PHONE):
            page.send("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
            for scheme in ("light", "dark"):
                wanted = [{"name": "prefers-color-scheme", "value": scheme}]
                page.send("Emulation.setEmulatedMedia", features=wanted)
                where = f"{width} pixels, {scheme}"
                assert page.evaluate("document.documentElement.scrollWidth") <= width, where
                contrast, text = page.evaluate(_FAINT)
                assert contrast >= LEAST_CONTRAST, (where, text)
                dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(24, 24, 24)"
                assert dark == (scheme == "dark")
        assert page.errors == []

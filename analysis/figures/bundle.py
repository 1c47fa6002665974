"""plotly.js inside a page, so that it works without a network: the basic bundle (scatter and bar charts), packed.

`plotly/plotly-basic.min.js.gz` is that file of the npm package plotly.js-basic-dist-min, of the version that the Python
package plotly has, after `gzip -9n`; its licence (MIT) lies beside it. The whole of plotly.js takes 4.7 MB of a page,
the packed bundle half a megabyte. A page unpacks it when it is opened, which browsers can since 2023.
"""

from __future__ import annotations

import base64
from importlib.resources import files

VERSION = "4.1.1"
SHA256 = "99784e3abfb07b142a15e521a439e6d9addceadb3f79553fd24c72774f0649ba"
"""Of the unpacked file."""
CHARTS = ("scatter", "bar")
"""What our figures use of the bundle."""

_LOADER = """<script id="plotly-packed" type="text/plain">@PACKED@</script>
<script>
const plotlyReady = (async () => {
  const text = document.getElementById("plotly-packed").textContent;
  const packed = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  const script = document.createElement("script");
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  script.textContent = await new Response(unpacked).text();
  document.head.append(script);
})();
plotlyReady.catch(() => document.body.prepend("The figures need a browser of 2023 or newer."));
</script>"""


def packed_plotly() -> bytes:
    """The bundle, gzipped."""
    return files("analysis.figures").joinpath("plotly", "plotly-basic.min.js.gz").read_bytes()


def plotly_scripts() -> str:
    """HTML for a page's body: after it a module's script may `await plotlyReady` and then use `Plotly`."""
    return _LOADER.replace("@PACKED@", base64.b64encode(packed_plotly()).decode())

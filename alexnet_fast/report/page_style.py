"""The style sheet of the report page: one column, system fonts, light, dark and paper."""

from __future__ import annotations

CSS = """\
:root {
  --ink: #1f2933; --faint: #55606b; --line: #d5dae0; --paper: #ffffff; --shade: #f5f7f9;
  --accent: #0060a0; --warn: #d55e00; --warn-shade: #fdf3ea;
  --serif: Charter, "Bitstream Charter", "Sitka Text", Cambria, Georgia, "Liberation Serif", serif;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", "Noto Sans", sans-serif;
  --mono: ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", "DejaVu Sans Mono", monospace;
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 2.5rem 1.25rem 3rem; max-width: 44.5rem;
  color: var(--ink); background: var(--paper); font: 1.0625rem/1.6 var(--serif); overflow-wrap: break-word;
}
h1, h2 { font-family: var(--sans); line-height: 1.2; text-wrap: balance; }
h1 { font-size: 2rem; letter-spacing: -0.015em; margin: 0 0 0.75rem; }
h2 { font-size: 1.3rem; margin: 0 0 0.75rem; }
p { margin: 0 0 0.9rem; }
a { color: var(--accent); }
.lead { font-size: 1.2rem; line-height: 1.5; }
section { margin-top: 2.25rem; padding-top: 1.5rem; border-top: 1px solid var(--line); }
section#results { border-top: 2px solid var(--ink); margin-top: 1.5rem; }
nav ul {
  display: flex; flex-wrap: wrap; gap: 0.3rem 1.1rem; list-style: none; margin: 1.25rem 0 0; padding: 0;
  font: 0.9rem/1.5 var(--sans);
}
nav a { text-decoration: none; }
nav a:hover { text-decoration: underline; }

table { border-collapse: collapse; font-family: var(--sans); font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: baseline; unicode-bidi: isolate; overflow-wrap: anywhere; }
.facts { width: 100%; font-size: 0.95rem; line-height: 1.4; margin: 0 0 1rem; }
.facts tr + tr { border-top: 1px solid var(--line); }
.facts th { font-weight: 500; width: 28%; padding: 0.45rem 1rem 0.45rem 0; }
.facts td { padding: 0.45rem 0; }
.facts div { display: grid; grid-template-columns: 44% 1fr; gap: 0 1.25rem; align-items: baseline; }
.facts .value { font-weight: 600; }
.facts .note { color: var(--faint); font-size: 0.875rem; }
.plain div { display: block; }
.plain .value { font-weight: 400; }
.main div { grid-template-columns: 32% 1fr; }
.main .value { font-size: 1.3rem; line-height: 1.1; white-space: nowrap; }

.wide { overflow-x: auto; margin: 0 0 1rem; }
.grid { font-size: 0.925rem; line-height: 1.35; min-width: 60%; }
.grid caption { text-align: left; font-weight: 600; padding-bottom: 0.35rem; }
.grid th, .grid td { padding: 0.35rem 0.9rem 0.35rem 0; border-bottom: 1px solid var(--line); }
.grid thead th { border-bottom: 1.5px solid var(--ink); font-weight: 600; white-space: nowrap; }
.grid tbody th { font-weight: 500; min-width: 6rem; }
.grid td { text-align: right; }
.grid thead th + th { text-align: right; }
.grid tr > :last-child { padding-right: 0; }

figure { margin: 0.5rem 0 1.5rem; }
img { display: block; max-width: 100%; height: auto; }
figcaption { margin-top: 0.6rem; color: var(--faint); font: 0.9rem/1.45 var(--sans); }
aside {
  margin: 0 0 1.25rem; padding: 0.7rem 1rem;
  background: var(--warn-shade); border-left: 4px solid var(--warn); font: 0.95rem/1.5 var(--sans);
}
aside p { margin: 0; }
aside p + p { margin-top: 0.6rem; }
pre {
  margin: 0 0 1rem; padding: 0.9rem 1rem;
  background: var(--shade); border: 1px solid var(--line); border-radius: 4px; font: 0.85rem/1.6 var(--mono);
  white-space: pre-wrap; overflow-wrap: anywhere;
}
/* A command that is too long goes on indented; it is copied as one line. */
code { display: block; font-family: inherit; padding-left: 2ch; text-indent: -2ch; }
footer { margin-top: 2.5rem; color: var(--faint); font: 0.85rem/1.5 var(--sans); }

@media (max-width: 34rem) {
  body { padding: 1.5rem 1rem 2rem; font-size: 1rem; }
  h1 { font-size: 1.6rem; }
  .lead { font-size: 1.1rem; }
  .facts th { width: 36%; padding-right: 0.75rem; }
  .facts div { display: block; }
  .facts .note { display: block; }
  figure { margin-left: -0.75rem; margin-right: -0.75rem; }
  figcaption { margin-left: 0.75rem; margin-right: 0.75rem; }
  .grid th, .grid td { padding-right: 0.55rem; }
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --ink: #e4e9ee; --faint: #a3afba; --line: #37424d; --paper: #15191e; --shade: #1d2329;
    --accent: #7cc0f2; --warn: #f0883e; --warn-shade: #2b2019;
  }
  /* The images are drawn on white: they keep their own sheet. */
  img { background: #ffffff; padding: 0.5rem; border-radius: 4px; }
}
@media print {
  @page { margin: 18mm; }
  html { font-size: 10pt; }
  body { max-width: none; padding: 0; }
  nav { display: none; }
  figure, table, tr, aside, pre { break-inside: avoid; }
  img { max-width: 85%; }
  h2 { break-after: avoid; }
  aside { border: 1px solid var(--line); border-left: 4px solid var(--warn); background: none; }
}
"""

"""How the HTML report looks: by day and by night, in a narrow window, and on paper."""

STYLE = """
:root {
  --ground: #fff; --ink: #1d2430; --quiet: #5b6675; --line: #d9dee6; --panel: #f5f7fa; --tls: #eef6f0; --link: #0b5cad;
  --error: #b3261e; --error-ground: #fdecea; --warning: #8a5300; --warning-ground: #fff4e0;
  --note: #3c5a86; --note-ground: #eaf1fb; --good: #1b6e3c; --client: #0b4f8a; --server: #5a3d8a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14181f; --ink: #e4e8ee; --quiet: #9aa6b5; --line: #333c49; --panel: #1c222b; --tls: #16261d;
    --link: #7cb8f5; --error: #ff8a80; --error-ground: #3a1d1c; --warning: #f5b95f; --warning-ground: #352812;
    --note: #9dbdf0; --note-ground: #1b2739; --good: #77d39b; --client: #86bff2; --server: #c3a9f2;
  }
}
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body {
  margin: 0 auto; max-width: 72rem; padding: 1rem 1.25rem 3rem; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.25rem 0 .75rem; padding-bottom: .25rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 0 0 .5rem; }
h4 { font-size: .95rem; margin: 1.25rem 0 .5rem; }
p { margin: .5rem 0; max-width: 60rem; }
a { color: var(--link); }
code, .header {
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .875em;
  overflow-wrap: anywhere; unicode-bidi: isolate;
}
code.rule { color: var(--quiet); font-weight: normal; }
dl { margin: 0; }
dl.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: .25rem 1.5rem; }
dl.hello > div, dl.facts > div { display: flex; gap: .75rem; padding: .2rem 0; min-width: 0; }
dl.hello > div { border-bottom: 1px solid var(--line); }
dl.hello + dl.hello { margin-top: 1.5rem; }
dt { flex: 0 0 6.5rem; color: var(--quiet); }
dl.hello dt { flex-basis: 9rem; }
dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; }
th, td {
  text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere;
}
thead th { color: var(--quiet); font-weight: 600; font-size: .85rem; }
tbody th { font-weight: 600; }
table.settings th { overflow-wrap: normal; }
table.verdicts th[scope=row] { width: 34%; }
table.verdicts td.word { width: 9rem; }
table.settings { width: auto; min-width: min(100%, 30rem); }
.word { font-weight: 600; }
.error { color: var(--error); }
.warning { color: var(--warning); }
.note { color: var(--note); }
.good { color: var(--good); }
.do { margin-top: .25rem; font-size: .9em; }
.badge {
  display: inline-block; border: 1px solid currentColor; border-radius: .25rem; padding: 0 .4em; font-size: .72rem;
  font-weight: 700; letter-spacing: .03em; vertical-align: .1em;
}
article {
  margin: .75rem 0; padding: .75rem 1rem; border: 1px solid var(--line);
  border-left-width: .3rem; border-radius: .35rem;
}
article.finding { color: inherit; }
article.finding.error { border-left-color: var(--error); }
article.finding.warning { border-left-color: var(--warning); }
article:target, li:target { outline: 2px solid var(--link); outline-offset: 2px; }
ul { margin: .5rem 0; padding-left: 1.25rem; }
ul.notes li { margin: .25rem 0; }
.at { font-size: .85em; white-space: nowrap; }
.remark { padding: .5rem .75rem; background: var(--warning-ground); border-radius: .35rem; }
.doubt { color: var(--quiet); }
.fix { padding-left: .75rem; border-left: .2rem solid var(--good); }
table.dialogue { font-size: .85rem; }
table.dialogue td.said code { font-size: 1em; }
table.dialogue td { padding: .12rem .5rem; border-bottom: 0; vertical-align: baseline; }
table.dialogue td.number, table.dialogue td.time {
  color: var(--quiet); font-size: .8rem; text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums;
  width: 1%; overflow-wrap: normal;
}
table.dialogue td.slow { color: var(--warning); font-weight: 700; }
table.dialogue td.arrow { width: 1%; text-align: center; font-weight: 700; }
table.dialogue td.tls {
  width: 1%; font-size: .7rem; font-weight: 700; color: var(--good); padding: 0; white-space: nowrap;
  overflow-wrap: normal;
}
table.dialogue thead th { white-space: nowrap; padding: .12rem .5rem; }
table.dialogue tr.client { color: var(--client); }
table.dialogue tr.server { color: var(--server); }
table.dialogue tr.info { color: var(--quiet); }
table.dialogue tr.error { color: var(--error); }
table.dialogue tr.in-tls { background: var(--tls); }
table.dialogue tr:target { outline: 2px solid var(--link); outline-offset: -2px; }
table.dialogue td.said code { white-space: pre-wrap; }
.header {
  margin: .25rem 0 .25rem 1rem; padding-left: .75rem; border-left: 2px solid var(--line);
  font-size: .95em; white-space: pre-wrap;
}
.mark {
  margin: .25rem 0; padding: .3rem .6rem; border-radius: .3rem; font-size: .9em; color: var(--ink);
  background: var(--note-ground);
}
.mark.error { background: var(--error-ground); } .mark.warning { background: var(--warning-ground); }
.mark.error .badge { color: var(--error); }
.mark.warning .badge { color: var(--warning); }
.mark.note .badge { color: var(--note); }
footer { margin-top: 3rem; color: var(--quiet); font-size: .85rem; }
@media (max-width: 44rem) {
  body { padding: .75rem .75rem 2rem; }
  dl.hello > div { flex-direction: column; gap: 0; }
  dl.hello dt { flex: none; }
  table.dialogue thead { display: none; }
  table.dialogue, table.dialogue tbody { display: block; }
  table.dialogue tr { display: grid; grid-template-columns: auto auto auto auto 1fr; padding: .15rem .25rem; }
  table.dialogue td { display: block; padding: 0 .5rem 0 0; }
  table.dialogue td.number, table.dialogue td.time, table.dialogue td.tls, table.dialogue td.arrow {
    width: auto; font-size: .7rem;
  }
  table.dialogue td.said { grid-column: 1 / -1; }
  table.verdicts thead { display: none; }
  table.verdicts, table.verdicts tbody { display: block; }
  table.verdicts tr { display: block; padding: .4rem 0; border-bottom: 1px solid var(--line); }
  table.verdicts th[scope=row], table.verdicts td, table.verdicts td.word {
    display: block; width: auto; padding: 0; border: 0;
  }
  table.settings { width: 100%; }
}
@media print {
  :root {
    --ground: #fff; --ink: #000; --quiet: #444; --line: #bbb; --panel: #fff; --tls: #f1f6f2; --link: #000;
    --error: #a00; --error-ground: #fbeeee; --warning: #6b4100; --warning-ground: #fdf6ea; --note: #234;
    --note-ground: #f0f4fa; --good: #064; --client: #024; --server: #324;
  }
  @page { margin: 15mm 12mm; }
  body {
    max-width: none; padding: 0; font-size: 9.5pt; -webkit-print-color-adjust: exact; print-color-adjust: exact;
  }
  a { text-decoration: none; }
  h2, h3, h4 { break-after: avoid; }
  article, .mark { break-inside: avoid; }
  tr { break-inside: avoid; }
  table.dialogue { font-size: 8pt; }
  table.dialogue td.number, table.dialogue td.time, table.dialogue td.tls { font-size: 7pt; }
  thead { display: table-header-group; }
}
"""

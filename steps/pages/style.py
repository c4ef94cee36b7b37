"""The look of monitoring's pages, after that of all pages; light or dark as the reader's system is."""

from __future__ import annotations

STYLE = """
:root { --now: #1f6feb; --then: #c3ccd6; --new: #b45f06; --soft-now: #1f6feb2b; --card: #fff; --guess:
  #7a4dbf }
@media (prefers-color-scheme: dark) { :root { --now: #6cb0ff; --then: #4a5664; --new: #f0a35e; --soft-now:
  #6cb0ff33; --card: #171e26; --guess: #c3a6f5 } }
body { max-width: 84rem }
section { scroll-margin-top: 1rem }
h3 { font-size: .98rem; margin: 1.4rem 0 .5rem; overflow-wrap: anywhere }
a { color: var(--now) }
.lead { max-width: 52rem; margin-bottom: .9rem }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; margin: .8rem 0; font-size: .92rem }
.status { display: inline-block; padding: .1rem .6rem; border-radius: 1rem; font-size: .85rem; font-weight:
  600; border: 1px solid; vertical-align: middle; margin-left: .5rem }
.badge { font-size: .74rem; font-weight: 600; padding: .05rem .5rem; border: 1px solid; border-radius: 1rem;
  color: var(--soft); white-space: nowrap }
.badge.good { color: var(--good) }
.badge.bad { color: var(--bad) }
.badge.guess { color: var(--guess) }
.facts { display: flex; flex-wrap: wrap; gap: .7rem 2rem; margin: 1rem 0 }
.facts dt { color: var(--soft); font-size: .8rem }
.facts dd { margin: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere }
.cards { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)) }
.cards.wide { grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)) }
.card { border: 1px solid var(--line); border-radius: 10px; padding: .8rem 1rem; background: var(--card);
  min-width: 0 }
.card header { display: flex; align-items: baseline; gap: .6rem; margin-bottom: .5rem }
.card h3 { margin: 0; flex: 1; min-width: 0 }
.card .facts { display: grid; grid-template-columns: 1fr; gap: .1rem; margin: .6rem 0 0; font-size: .82rem }
.card .facts div { display: flex; justify-content: space-between; gap: .8rem }
.card .facts dd { text-align: right }
.card small, td small { color: var(--soft) }
td small { display: block; font-size: .75rem }
.none { padding: 2.4rem 0; text-align: center }
svg { display: block; width: 100%; height: auto }
svg text { fill: var(--soft); font: 11px system-ui, sans-serif; font-variant-numeric: tabular-nums }
svg text.name { fill: var(--ink) }
svg .then { fill: var(--then) }
svg .now { fill: none; stroke: var(--now); stroke-width: 2; stroke-linejoin: round }
svg path.now.guess { stroke-dasharray: 5 4; stroke: var(--guess) }
svg .axis { stroke: var(--line); fill: none }
svg .limit { stroke: var(--bad); stroke-dasharray: 4 3; fill: none }
svg .tick { stroke: var(--ink); stroke-width: 2 }
svg .band { fill: var(--soft-now) }
svg .track { fill: var(--line) }
svg .near, svg .bar { fill: var(--now) }
svg .far { fill: var(--bad) }
svg .chance { fill: var(--soft); opacity: .55 }
svg .before { fill: var(--then) }
svg .new { fill: var(--new) }
svg .dot { fill: var(--now) }
svg .dot.bad { fill: var(--bad) }
svg .ring { fill: none; stroke: var(--soft); stroke-width: 1.5 }
svg .whisker { stroke: var(--now); stroke-width: 2 }
svg .whisker.bad { stroke: var(--bad) }
.r { text-align: right; font-variant-numeric: tabular-nums }
td { overflow-wrap: break-word }
caption { text-align: left; font-weight: 600; padding: .6rem .75rem .2rem }
details { margin: .4rem 0 1.2rem }
summary { cursor: pointer; color: var(--soft); font-size: .9rem }
.forest { max-width: 50rem; overflow-x: auto }
.forest svg { min-width: 34rem }
.guessed { border-left: 3px solid var(--guess); padding-left: 1rem; margin: 1.2rem 0 }
.side { display: flex; flex-wrap: wrap; gap: 1.5rem 2.5rem; align-items: flex-start; margin-top: 1.2rem }
figure { margin: 0; flex: 0 1 18rem; min-width: 0 }
figure.wide { flex: 0 1 auto; max-width: 100% }
figcaption { color: var(--soft); font-size: .85rem; margin-top: .3rem }
.matrix td { text-align: right; font-variant-numeric: tabular-nums; background: color-mix(in srgb,
  var(--bad) calc(var(--part) * 45%), transparent) }
.matrix td.hit { background: color-mix(in srgb, var(--now) calc(var(--part) * 40%), transparent) }
ul.notes { padding-left: 1.2rem; max-width: 60rem }
ul.notes li { margin: .3rem 0; overflow-wrap: anywhere }
@media print { .card, tr { break-inside: avoid } nav { display: none } }
"""

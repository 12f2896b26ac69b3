"""Measurements of harvester, beside what people use today, on the simulator in its own process.

    python -m bench all            every scenario; writes results.json, RESULTS.md and plot.png here
    python -m bench dense wide     only these; the others keep the figures that they have
    python -m bench --quick all    a tenth of the size, for a first look; writes into bench/quick
    python -m bench.micro          the steps of a page, one by one; writes nothing

Each contestant runs in a fresh process of its own, in turns with the others. What is quoted are
ratios within a round, with their median and spread: absolute seconds differ from one host, and
from one minute, to the next. This package itself stays small while it measures, because on Linux
a child's peak memory never reads lower than its parent's.
"""

"""How cost grows: time and peak memory against symbols, days, sleeves and workers, beside other libraries.

``make bench-scaling`` measures everything, draws the figures and writes the tables into ``docs/scaling.md``.
"""

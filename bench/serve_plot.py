# SPDX-License-Identifier: Apache-2.0
"""An SVG of what bench/serve.py found over offered load: throughput, time to the first token, time between tokens."""
import math
from html import escape

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 340, 250, 56, 34, 40
COLOURS = ('#1b6ca8', '#c2410c', '#3f7d20', '#7b2d8b')
PANELS = (('tokens/s', (('tokens_per_s', ''),), 1),
          ('time to the first token, s', (('ttft_p50', ''), ('ttft_p95', '6 3'), ('ttft_p99', '2 3')), 1),
          ('time between tokens, ms', (('tbt_p50', ''), ('tbt_p95', '6 3'), ('tbt_p99', '2 3')), 1000))


def ticks(most):
    """Round numbers from 0 to at least `most`, four to ten of them."""
    if most <= 0:
        return [0.0, 1.0]
    step = 10 ** math.floor(math.log10(most / 4))
    step *= next(m for m in (1, 2, 2.5, 5, 10) if most / (step * m) <= 6)
    return [step * i for i in range(math.ceil(most / step - 1e-9) + 1)]


def panel(x0, title, series, unit, engines):
    points = [(r['point'], r[key] * unit) for rows in engines.values() for r in rows for key, _ in series]
    xs, ys = ticks(max(p[0] for p in points)), ticks(max(p[1] for p in points))
    wide, high = WIDTH - LEFT - 16, HEIGHT - TOP - BOTTOM

    def at(x, y):
        return x0 + LEFT + wide * x / xs[-1], TOP + high * (1 - y / ys[-1])

    out = [f'<text x="{x0 + LEFT}" y="{TOP - 12}" class="title">{escape(title)}</text>']
    for y in ys:
        (a, b), (c, _) = at(0, y), at(xs[-1], y)
        out.append(f'<path d="M{a:.1f} {b:.1f}H{c:.1f}" class="grid"/><text x="{a - 6:.1f}" y="{b + 4:.1f}" text-anchor="end">{y:g}</text>')
    for x in xs:
        a, b = at(x, 0)
        out.append(f'<text x="{a:.1f}" y="{b + 16:.1f}" text-anchor="middle">{x:g}</text>')
    a, b = at(xs[-1] / 2, 0)
    out.append(f'<text x="{a:.1f}" y="{b + 32:.1f}" text-anchor="middle">requests a second</text>')
    for colour, rows in zip(COLOURS, engines.values()):
        for key, dash in series:
            line = [at(r['point'], r[key] * unit) for r in rows]
            path = 'M' + 'L'.join(f'{x:.1f} {y:.1f}' for x, y in line)
            out.append(f'<path d="{path}" class="line" stroke="{colour}" stroke-dasharray="{dash}"/>')
            out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in line]
    return out


def svg(title, engines):
    """engines: {name: rows by rising 'point'}, each row with tokens_per_s and the percentiles."""
    wide, high = WIDTH * len(PANELS), HEIGHT + 30
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}" height="{high}" role="img">',
           f'<title>{escape(title)}</title>',
           '<style>text{font:11px sans-serif;fill:#333}.title{font-weight:bold}.grid{stroke:#ddd}.line{fill:none;stroke-width:1.6}</style>',
           f'<rect width="{wide}" height="{high}" fill="#fff"/>']
    for i, (name, series, unit) in enumerate(PANELS):
        out += panel(i * WIDTH, name, series, unit, engines)
    x = LEFT
    for colour, name in zip(COLOURS, engines):
        out.append(f'<rect x="{x}" y="{HEIGHT + 10}" width="12" height="3" fill="{colour}"/><text x="{x + 18}" y="{HEIGHT + 15}">{escape(name)}</text>')
        x += 40 + 7 * len(name)
    out.append(f'<text x="{x}" y="{HEIGHT + 15}">latencies: p50 solid, p95 dashed, p99 dotted</text></svg>')
    return '\n'.join(out) + '\n'

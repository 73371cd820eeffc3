// Draws a soak: one panel for each thing that is measured, over the same time.
import { series, type Point, type Series, type Verdict } from './verdict.ts'

const width = 760
const panelHeight = 130
const margin = { left: 60, right: 20, top: 92, between: 74 }
const colours = ['#1f5fa8', '#b3541e']

const panels: readonly { title: string; unit: string; lines: readonly Series[] }[] = [
  { title: 'Memory', unit: 'MiB', lines: ['resident', 'held'] },
  { title: 'Descriptors', unit: '', lines: ['descriptors'] },
  { title: 'Event-loop lag, p99', unit: 'ms', lines: ['lag'] },
  { title: 'Latency of a warm manifest', unit: 'ms', lines: ['median', 'p99'] },
]

/** The text of an SVG. */
export function drawSoak(points: readonly Point[], verdicts: readonly Verdict[], minutes: number) {
  const height = margin.top + panels.length * (panelHeight + margin.between)
  const isSteady = verdicts.every((verdict) => verdict.isSteady)
  const title = `${minutes} minutes of mixed pulls, faults, reloads and damage: ${isSteady ? 'steady' : 'growing'}`
  const drawn = panels.map((panel, index) => {
    const top = margin.top + index * (panelHeight + margin.between)
    return drawPanel(panel, points, verdicts, top, minutes)
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-label="${title}" font-family="system-ui, sans-serif" font-size="12">
<rect width="${width}" height="${height}" fill="#fff"/>
<text x="${margin.left}" y="26" font-size="16" font-weight="600">${title}</text>
${drawn.join('\n')}
</svg>
`
}

function drawPanel(
  { title, unit, lines }: (typeof panels)[number],
  points: readonly Point[],
  verdicts: readonly Verdict[],
  top: number,
  minutes: number,
): string {
  const bottom = top + panelHeight
  const inner = width - margin.left - margin.right
  const most = niceAbove(
    Math.max(...points.flatMap(({ values }) => lines.map((key) => values[key]))),
  )
  const x = (at: number) => round(margin.left + (at / minutes) * inner)
  const y = (value: number) => round(bottom - (value / most) * panelHeight)
  const grid = [0, 0.5, 1].map((share) => {
    const at = y(most * share)
    return `<path d="M${margin.left} ${at}H${width - margin.right}" stroke="#ddd"/>
<text x="${margin.left - 8}" y="${at + 4}" text-anchor="end" fill="#555">${most * share}</text>`
  })
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => {
    const label = `${round(share * minutes)}${share === 1 ? ' min' : ''}`
    return `<text x="${x(share * minutes)}" y="${bottom + 16}" text-anchor="${share === 1 ? 'end' : 'middle'}" fill="#555">${label}</text>`
  })
  const curves = lines.map((key, index) => {
    const path = points.map(({ at, values }) => `${x(at)} ${y(values[key])}`).join('L')
    return `<path d="M${path}" fill="none" stroke="${colours[index]}" stroke-width="1.5"/>`
  })
  const labels = lines.map((key, index) => {
    const verdict = verdicts.find((one) => one.series === key)
    const text = `${series[key].name}: ${verdict?.text ?? ''}`
    const at = top - 8 - 15 * (lines.length - 1 - index)
    return `<text x="${margin.left}" y="${at}" fill="${colours[index]}">${text}</text>`
  })
  const heading = `${title}${unit === '' ? '' : ` (${unit})`}`
  const above = top - 8 - 15 * lines.length
  return `<text x="${margin.left}" y="${above}" font-weight="600">${heading}</text>
${[...labels, ...grid, ...ticks, ...curves].join('\n')}`
}

/** The next 1, 2 or 5 with zeros behind it. */
function niceAbove(value: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)))
  return power * ([1, 2, 5, 10].find((step) => step * power >= value) ?? 10)
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}

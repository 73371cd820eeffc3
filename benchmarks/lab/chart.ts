// Draws lines over one axis as SVG, panel below panel, and bars beside their names.

export interface Panel {
  title: string
  /** Of what is drawn upwards; may be empty. */
  unit: string
  lines: readonly Line[]
}

export interface Line {
  label: string
  points: readonly { x: number; y: number }[]
}

/** Where values lie from left to right, and which of them are named below. */
export interface Axis {
  ticks: readonly { x: number; label: string }[]
  /** From 0 at the left to 1 at the right. */
  place: (x: number) => number
}

export interface Bar {
  label: string
  /** What is written behind it. */
  text: string
  /** From 0 to 1. */
  length: number
}

const width = 760
const panelHeight = 130
const margin = { left: 60, right: 20, top: 77, between: 59 }
const lineHeight = 15
const barHeight = 22
const barsLeft = 260
const barsRight = 200
const colours = ['#1f5fa8', '#b3541e', '#2e7d4f', '#7a3f9d', '#8a6d00', '#555']

/** From 0 to `most`, with four steps. */
export function evenly(most: number, unit: string): Axis {
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => ({
    x: share * most,
    label: `${round(share * most)}${share === 1 ? ` ${unit}` : ''}`,
  }))
  return { ticks, place: (x) => x / most }
}

/** Each step as far from the next as its ratio tells; what is below the first lies at the left. */
export function byRatio(ticks: Axis['ticks']): Axis {
  const [first, last] = [ticks.at(0)?.x ?? 1, ticks.at(-1)?.x ?? 10]
  const place = (x: number) => Math.max(0, Math.log(x / first) / Math.log(last / first))
  return { ticks, place }
}

/** The text of an SVG. */
export function drawPanels(title: string, panels: readonly Panel[], axis: Axis): string {
  const most = Math.max(...panels.map(({ lines }) => lines.length))
  const step = panelHeight + margin.between + lineHeight * (most - 1)
  const top = margin.top + lineHeight * (most - 1)
  const drawn = panels.map((panel, index) => drawPanel(panel, top + index * step, axis))
  return frame(title, top + panels.length * step, drawn)
}

/** The text of an SVG. */
export function drawBars(title: string, bars: readonly Bar[]): string {
  const drawn = bars.map(({ label, text, length }, index) => {
    const top = 44 + index * barHeight
    const long = round(length * (width - barsLeft - barsRight))
    return `<text x="${barsLeft - 8}" y="${top + 13}" text-anchor="end">${label}</text>
<rect x="${barsLeft}" y="${top + 2}" width="${long}" height="${barHeight - 8}" fill="${colours[0]}"/>
<text x="${barsLeft + long + 8}" y="${top + 13}" fill="#555">${text}</text>`
  })
  return frame(title, 56 + bars.length * barHeight, drawn)
}

function frame(title: string, height: number, drawn: readonly string[]): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-label="${title}" font-family="system-ui, sans-serif" font-size="12">
<rect width="${width}" height="${height}" fill="#fff"/>
<text x="${margin.left}" y="26" font-size="16" font-weight="600">${title}</text>
${drawn.join('\n')}
</svg>
`
}

function drawPanel({ title, unit, lines }: Panel, top: number, axis: Axis): string {
  const bottom = top + panelHeight
  const inner = width - margin.left - margin.right
  const most = niceAbove(Math.max(...lines.flatMap(({ points }) => points.map(({ y }) => y))))
  const x = (value: number) => round(margin.left + axis.place(value) * inner)
  const y = (value: number) => round(bottom - (value / most) * panelHeight)
  const grid = [0, 0.5, 1].map((share) => {
    const at = y(most * share)
    return `<path d="M${margin.left} ${at}H${width - margin.right}" stroke="#ddd"/>
<text x="${margin.left - 8}" y="${at + 4}" text-anchor="end" fill="#555">${most * share}</text>`
  })
  const ticks = axis.ticks.map((tick, index) => {
    const anchor = index === axis.ticks.length - 1 ? 'end' : 'middle'
    return `<text x="${x(tick.x)}" y="${bottom + 16}" text-anchor="${anchor}" fill="#555">${tick.label}</text>`
  })
  const curves = lines.map(({ points }, index) => {
    const path = points.map((point) => `${x(point.x)} ${y(point.y)}`).join('L')
    return `<path d="M${path}" fill="none" stroke="${colours[index]}" stroke-width="1.5"/>`
  })
  const labels = lines.map(({ label }, index) => {
    const at = top - 8 - lineHeight * (lines.length - 1 - index)
    return `<text x="${margin.left}" y="${at}" fill="${colours[index]}">${label}</text>`
  })
  const heading = `${title}${unit === '' ? '' : ` (${unit})`}`
  const above = top - 8 - lineHeight * lines.length
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
